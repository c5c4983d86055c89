"""What a live page is told: everything newer than its cursor, once, or its strip anew."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lineside.dashboard.devices import translate
from lineside.dashboard.devices.values import Counts
from lineside.dashboard.live import STRIP, LivePages, cursor_from, event, news_since, station_stream
from lineside.dashboard.reading.views import Contact, DeviceView, StationView
from lineside.v1 import results_pb2


def result(sequence: int, station: str = "st1") -> Any:
    return translate.result(
        results_pb2.Inspection(sequence=sequence, result_id=f"r{sequence}", station=station)
    )


def test_a_first_visit_gets_the_strip() -> None:
    news = news_since([result(n) for n in range(1, 61)], None)
    assert news.reset
    assert list(range(11, 61)) == [r.sequence for r in news.results]


def test_a_page_that_is_up_to_date_gets_nothing() -> None:
    assert news_since([result(1), result(2)], 2).results == ()


def test_a_page_that_was_away_too_long_gets_its_strip_anew() -> None:
    news = news_since([result(n) for n in range(500, 560)], 100)
    assert news.reset
    assert len(news.results) == STRIP


def test_a_cursor_of_another_history_gets_the_strip_anew() -> None:
    assert news_since([result(1), result(2)], 900).reset


@given(
    steps=st.lists(st.integers(1, 5), min_size=1, max_size=120),
    looks=st.lists(st.integers(0, 119), max_size=20),
)
def test_however_a_page_looks_its_strip_is_the_last_fifty_in_order(
    steps: list[int], looks: list[int]
) -> None:
    sequences = [sum(steps[: i + 1]) for i in range(len(steps))]
    strip: list[int] = []
    cursor: int | None = None
    for upto in sorted({*looks, len(steps) - 1}):
        ring = [result(s) for s in sequences[: upto + 1][-60:]]
        news = news_since(ring, cursor)
        if news.reset:
            strip = []
        strip = (strip + [r.sequence for r in news.results])[-STRIP:]
        if news.results:
            cursor = news.results[-1].sequence
    assert sequences[-STRIP:] == strip


@given(st.text())
def test_whatever_a_device_says_an_event_stays_one_event(words: str) -> None:
    lines = event("results", {"newest": words}, 7).split("\n")
    assert lines[:2] == ["id: 7", "event: results"]
    assert {"newest": words} == json.loads(lines[2].removeprefix("data: "))
    assert lines[3:] == ["", ""]


@given(st.text(max_size=30))
def test_a_cursor_is_a_number_or_nothing(words: str) -> None:
    cursor = cursor_from(words)
    assert cursor is None or (cursor >= 0 and str(cursor) == (words.lstrip("0") or "0"))


def test_a_stream_ends_when_the_server_stops_and_resumes_at_the_cursor() -> None:
    device = DeviceView("edge-07", Contact.LIVE, 0.0, "", None, (), (), datetime.now(UTC))
    seen = StationView(tuple(result(n) for n in range(1, 6)), Counts())
    stopping = threading.Event()

    def told(cursor: int | None, events_heard: int = 3) -> list[str]:
        stopping.clear()
        events = station_stream(
            lambda: (device, seen),
            cursor,
            draw_results=lambda news, _seen, _device: {"ids": [r.sequence for r in news.results]},
            draw_now=lambda _seen, _device: {},
            stopping=stopping,
            pause_s=0.0,
        )
        heard = [next(events) for _ in range(events_heard)]
        stopping.set()
        assert list(events) == []
        return heard

    assert told(None)[1] == 'id: 5\nevent: results\ndata: {"ids": [1, 2, 3, 4, 5]}\n\n'
    assert told(3)[1] == 'id: 5\nevent: results\ndata: {"ids": [4, 5]}\n\n'
    assert told(5, 2)[1].startswith("event: now\n")


def test_a_stream_ends_when_its_device_is_removed() -> None:
    events = station_stream(
        lambda: None,
        None,
        draw_results=lambda *_: {},
        draw_now=lambda *_: {},
        stopping=threading.Event(),
    )
    assert [each.split(":")[0] for each in events] == ["retry"]


def test_live_pages_are_bounded() -> None:
    pages = LivePages(2)
    assert [pages.enter(), pages.enter(), pages.enter()] == [True, True, False]
    pages.leave()
    assert pages.enter()
