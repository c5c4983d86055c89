"""The arithmetic of an evaluation on numbers small enough to check by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.engines.demo.measures import (
    Asked,
    Judged,
    accuracy,
    by_severity,
    calibration_error,
    confusion,
    review_curve,
)


def said(right: str, given: str, confidence: float = 1.0, severity: float = 0.0) -> Asked:
    return Asked(right, given, confidence, 0.0, severity)


def test_accuracy_counts_whole_answers() -> None:
    assert accuracy([said("ok", "ok"), said("ok", "cracked")]) == 0.5
    assert math.isnan(accuracy([]))


def test_confidence_that_comes_true_has_no_calibration_error() -> None:
    records = [said("a", "a", 0.75)] * 3 + [said("a", "b", 0.75)]

    assert calibration_error(records) == pytest.approx(0.0)
    assert calibration_error([said("a", "b", 1.0)]) == pytest.approx(1.0)


def test_confusion_counts_by_right_then_given() -> None:
    assert confusion([said("a", "a"), said("a", "b"), said("b", "b")]) == {
        "a": {"a": 1, "b": 1},
        "b": {"b": 1},
    }


def test_only_graded_defects_are_split_by_severity() -> None:
    table = by_severity(
        [said("cracked", "cracked", severity=0.1), said("cracked", "ok", severity=0.9), said("ok", "ok")]
    )

    assert table["cracked, quarter 1"] == {"crops": 1, "accuracy": 1.0}
    assert table["cracked, quarter 4"] == {"crops": 1, "accuracy": 0.0}
    assert not any(name.startswith("ok") for name in table)


def test_review_takes_the_most_doubtful_first() -> None:
    parts = [Judged(False, True, 0.9), Judged(True, False, 0.8), *[Judged(True, True, 0.0)] * 8]

    none, one, two = review_curve(parts, [0.0, 0.1, 0.2])

    assert (none["escapes"], none["overkill"]) == (1, 1)
    assert (one["escapes"], one["overkill"]) == (0, 1)
    assert (two["escapes"], two["overkill"]) == (0, 0)


@settings(deadline=None)
@given(st.lists(st.builds(Judged, st.booleans(), st.booleans(), st.floats(0, 2)), max_size=40))
def test_more_review_never_makes_more_errors(parts: list[Judged]) -> None:
    curve = review_curve(parts, [0.0, 0.1, 0.5, 1.0])
    errors = [int(row["escapes"]) + int(row["overkill"]) for row in curve]

    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0
