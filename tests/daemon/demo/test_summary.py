"""The demonstration's summary says truly what escaped, was failed for nothing, missed or doubled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.demo.summary import Heard, percentile, summarise
from lineside.daemon.demo.truth import PartOnLine, part_at, read_truth, write_truth


def line_of(good: Sequence[bool], pitch: int = 10) -> list[PartOnLine]:
    return [
        PartOnLine(index, 5 + index * pitch, is_good, "ok" if is_good else "cracked", 6, "K48213", True)
        for index, is_good in enumerate(good)
    ]


def heard(sequence: int, verdict: str, frame: int | None, ms: float = 10.0) -> Heard:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=sequence)
    return Heard(f"id-{sequence}", sequence, verdict, frame, ms, at, at + timedelta(milliseconds=ms))


def summary_of(parts: list[PartOnLine] | None, verdicts: list[Heard]) -> dict[str, object]:
    return summarise(
        verdicts,
        parts=parts,
        reach=4,
        mqtt_received=len(verdicts),
        grpc_received=len(verdicts),
        stored=len(verdicts),
    )


def test_a_bad_part_judged_ok_is_an_escape_and_a_good_one_judged_not_ok_is_overkill():
    parts = line_of([True, False, True])

    said = summary_of(parts, [heard(1, "NOT_OK", 5), heard(2, "OK", 16), heard(3, "OK", 24)])

    assert (said["escapes"], said["overkill"], said["missed"], said["doubled"]) == (1, 1, 0, 0)


def test_not_decidable_is_neither_escape_nor_overkill():
    said = summary_of(line_of([True, False]), [heard(1, "NOT_DECIDABLE", 5), heard(2, "NOT_DECIDABLE", 15)])

    assert (said["not_decidable"], said["escapes"], said["overkill"]) == (2, 0, 0)


def test_a_part_without_verdict_is_missed_and_one_with_two_is_doubled():
    said = summary_of(line_of([True, True, True]), [heard(1, "OK", 5), heard(2, "OK", 6), heard(3, "OK", 25)])

    assert (said["missed"], said["doubled"]) == (1, 1)


def test_a_verdict_on_no_part_is_a_stray():
    said = summary_of(line_of([True]), [heard(1, "OK", 5), heard(2, "OK", 40), heard(3, "OK", None)])

    assert said["strays"] == 2


def test_a_result_heard_twice_counts_once():
    said = summary_of(line_of([True]), [heard(1, "OK", 5), heard(1, "OK", 5)])

    assert (said["parts_judged"], said["doubled"]) == (1, 0)


def test_without_a_truth_nothing_is_claimed_about_it():
    said = summary_of(None, [heard(1, "OK", 5)])

    assert said["escapes"] is None
    assert said["missed"] is None


@given(st.lists(st.sampled_from(["OK", "NOT_OK", "NOT_DECIDABLE"]), min_size=1, max_size=40), st.data())
def test_every_part_is_judged_or_missed_and_verdicts_add_up(verdicts: list[str], data: st.DataObject):
    parts = line_of(data.draw(st.lists(st.booleans(), min_size=1, max_size=40)))
    frames = [data.draw(st.integers(0, len(parts) * 10 + 20)) for _ in verdicts]

    said = summary_of(
        parts, [heard(i + 1, v, f) for i, (v, f) in enumerate(zip(verdicts, frames, strict=True))]
    )

    assert said["ok"] + said["not_ok"] + said["not_decidable"] == said["parts_judged"] == len(verdicts)  # type: ignore[operator]
    assert len(parts) - said["missed"] + said["doubled"] + said["strays"] == len(verdicts)  # type: ignore[operator]


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 0.99))
def test_a_percentile_is_one_of_the_values_and_enough_lie_at_or_below_it(values: list[float], share: float):
    value = percentile(values, share)

    assert value in values
    assert sum(v <= value for v in values) >= share * len(values)


def test_part_at_knows_only_parts_within_reach():
    parts = line_of([True, True])

    assert part_at(parts, 8, reach=4) == parts[0]
    assert part_at(parts, 10, reach=4) is None


def test_a_truth_file_reads_back_as_written(tmp_path):
    parts = line_of([True, False])
    write_truth(tmp_path / "truth.json", parts)

    assert read_truth(tmp_path / "truth.json") == parts


def test_parts_per_second_is_from_the_first_trigger_to_the_last_verdict():
    said = summary_of(None, [heard(n, "OK", n, ms=0.0) for n in range(11)])

    assert said["parts_per_second"] == 1.1
