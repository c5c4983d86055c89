"""Digits, ages and pictures as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.dashboard.devices import translate
from lineside.dashboard.devices.values import Counts
from lineside.dashboard.present import Presenter, overlay, short, strip_paths, wilson
from lineside.dashboard.reading import attention
from lineside.v1 import results_pb2

ENGLISH, GERMAN = Presenter("en", UTC), Presenter("de", UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (7500, "2 h 5 min"),
        (180000, "2 d 2 h"),
        (-3, "0 s"),
        (None, "–"),
    ],
)
def test_ages(seconds: float | None, words: str) -> None:
    assert words == ENGLISH.age(seconds)


def test_digits_follow_the_language() -> None:
    assert (ENGLISH.number(12304.5, 1), GERMAN.number(12304.5, 1)) == ("12,304.5", "12.304,5")
    assert ENGLISH.clock(datetime(2026, 3, 1, 8, 31, 6, 912000, tzinfo=UTC), precise=True) == "08:31:06.912"


@given(st.floats(0, 1))
def test_nothing_uncertain_is_shown_as_certain(p: float) -> None:
    if p < 0.9999:
        assert ENGLISH.probability(p) != "1.00"


def test_rates_come_with_an_interval_or_not_at_all() -> None:
    assert (ENGLISH.share(0, Counts()), ENGLISH.interval(0, Counts())) == ("–", "")
    counts = Counts(ok=3166, not_ok=38)
    assert (ENGLISH.share(38, counts), ENGLISH.interval(38, counts)) == ("1.2 %", "0.9–1.6")


@given(st.integers(1, 10**6), st.data())
def test_an_interval_holds_its_share(total: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, total))
    low, high = wilson(part, total)
    assert 0 <= low <= part / total + 1e-12
    assert part / total - 1e-12 <= high <= 1


@given(st.text(max_size=300))
def test_short_words_have_no_control_characters(words: str) -> None:
    made = short(words)
    assert len(made) <= 80
    assert made.isprintable()


@given(
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 1), st.floats(0.01, 1)),
    st.integers(1, 5000),
    st.integers(1, 5000),
)
def test_the_near_view_holds_the_part_and_stays_in_the_picture(
    part: tuple[float, float, float, float], width: int, height: int
) -> None:
    x, y, w, h = part
    message = results_pb2.Inspection(
        part_box=results_pb2.Box(x0=x, y0=y, x1=min(1.0, x + w), y1=min(1.0, y + h)),
        evidence=[results_pb2.Evidence(evidence_id="e", role="frame", width=width, height=height)],
    )
    drawn = overlay(translate.result(message), near=True)
    assert drawn is not None
    left, top, across, down = drawn.view
    slack = 0.2
    assert -slack <= left
    assert left + across <= width + slack
    assert -slack <= top
    assert top + down <= height + slack
    assert left <= x * width + slack
    assert left + across >= min(1.0, x + w) * width - slack


def test_a_strip_has_its_newest_verdict_at_the_right_and_leaves_out_what_is_too_old() -> None:
    assert strip_paths("on", 3) == (("ok", "M6 19h4v5h-4z"), ("not_ok", "M12 0h4v24h-4z"))
    assert strip_paths("nnnou?", 3) == (
        ("ok", "M0 19h4v5h-4z"),
        ("unknown", "M6 10h4v14h-4zM12 10h4v14h-4z"),
    )
    assert strip_paths("", 60) == ()


def counts(ok: int, not_ok: int) -> Counts:
    return Counts(ok=ok, not_ok=not_ok)


@pytest.mark.parametrize(
    ("ng", "today", "concern"),
    [
        (3, counts(990, 10), False),
        (4, counts(990, 10), True),
        (4, counts(900, 100), False),
        (5, counts(700, 300), True),
        (4, counts(16, 4), True),
    ],
)
def test_bad_parts_are_a_concern_when_they_are_more_than_usual_or_a_quarter(
    ng: int, today: Counts, concern: bool
) -> None:
    assert attention.unusual(ng, 20, today) is concern
