"""Searches over the real store mean what the filter language means, however little of it the index knows."""

from __future__ import annotations

import pytest

from lineside.daemon.rpc import stored
from lineside.daemon.rpc.filter import matches, parse
from lineside.daemon.values import TriggerKind, Verdict

FILTERS = [
    "",
    "station = st2",
    "station != st2",
    "part_id = p3",
    "evaluation = NOT_OK",
    "evaluation != OK AND station = st1",
    "station = st1 AND station = st2",
    "trigger = mqtt",
    "is_simulated = true",
    "sequence > 5 AND sequence <= 9",
    "sequence = 7",
    "sequence < 3",
    "sequence != 4",
    'decide_time >= "2026-03-01T12:00:05.040Z"',
    'decide_time > "2026-03-01T12:00:05.040Z"',
    'decide_time = "2026-03-01T12:00:05.040Z"',
    'decide_time <= "2026-03-01T12:00:05.040Z"',
    'decide_time < "2026-03-01T12:00:05.040Z"',
    'decide_time < "9999-12-31T23:59:59.999999Z"',
    'trigger_time > "2026-03-01T12:00:04Z" AND trigger_time < "2026-03-01T12:00:08Z"',
    "recipe = cap AND recipe_hash != x",
]


@pytest.fixture
def rows(results, make):
    return [
        results.add(
            make(
                sequence,
                station="st1" if sequence % 3 else "st2",
                verdict=list(Verdict)[sequence % 3 if sequence % 2 else 0],
                part_id=f"p{sequence % 5}",
                trigger=TriggerKind.MQTT if sequence % 4 == 0 else TriggerKind.GRPC,
                is_simulated=sequence % 7 == 0,
            )
        )
        for sequence in range(1, 13)
    ]


def found_in_pages(reader, text: str, size: int) -> list[int]:
    seen: list[int] = []
    before = None
    while True:
        found = reader.find(parse(text), page_size=size, before_sequence=before)
        assert len(found.results) <= size
        seen += [row.sequence for row in found.results]
        if found.next_before is None:
            return seen
        before = found.next_before


def test_every_filter_chooses_what_it_says_in_pages_of_any_size(results, rows):
    for text in FILTERS:
        meant = [row.sequence for row in reversed(rows) if matches(row, parse(text))]
        for size in (1, 3, 12, 50):
            assert found_in_pages(results.reader, text, size) == meant, (text, size)


def test_a_search_that_finds_little_stops_after_a_bounded_number_of_rows_and_can_go_on(
    results, rows, monkeypatch
):
    monkeypatch.setattr(stored, "BATCH", 2)
    monkeypatch.setattr(stored, "MOST_ROWS", 4)
    first = results.reader.find(parse("sequence != 99 AND trigger = mqtt"), page_size=3, before_sequence=None)
    assert [row.sequence for row in first.results] == [12]
    assert first.next_before == 9
    assert found_in_pages(results.reader, "trigger = mqtt", 3) == [12, 8, 4]
