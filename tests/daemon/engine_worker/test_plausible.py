"""Answers that may not be believed: what is not finite, and what was not allowed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.engine_worker.plausible import objection
from lineside.engines.base import (
    Answer,
    Choice,
    Count,
    Decision,
    Free,
    Grammar,
    Schema,
    Text,
    Timings,
    TokenCounts,
)

GOOD = Answer(
    text='{"answer":"ok"}',
    value="ok",
    confidence=0.98,
    probabilities={"ok": 0.98, "bad": 0.02},
    runner_up=("bad", 0.02),
    decisions=(Decision("ok", 0.98, (("ok", 0.98),)),),
    token_ids=(1,),
    tokens=TokenCounts(0, 1, 1, 1, 1),
    timings=Timings(1, 1, 1, 1, 4),
    familiarity=0.4,
)
ALLOWED = Choice(("ok", "bad"))


def test_a_plain_answer_is_believed() -> None:
    assert objection(GOOD, ALLOWED) is None


@given(st.floats().filter(lambda p: not 0 <= p <= 1.00001))
def test_no_probability_outside_its_range_is_believed_anywhere(wrong: float) -> None:
    for answer in (
        replace(GOOD, confidence=wrong),
        replace(GOOD, probabilities={"ok": 0.98, "bad": wrong}),
        replace(GOOD, runner_up=("bad", wrong)),
        replace(GOOD, decisions=(Decision("ok", wrong, ()),)),
    ):
        assert objection(answer, ALLOWED) is not None


@pytest.mark.parametrize("familiarity", [math.nan, math.inf])
def test_a_familiarity_that_is_no_number_is_not_believed(familiarity: float) -> None:
    assert objection(replace(GOOD, familiarity=familiarity), ALLOWED) is not None


@pytest.mark.parametrize(
    ("grammar", "value", "believed"),
    [
        (ALLOWED, "bad", True),
        (ALLOWED, "good", False),
        (ALLOWED, None, False),
        (Count(0, 9), 0, True),
        (Count(0, 9), 9, True),
        (Count(0, 9), 10, False),
        (Count(0, 9), -1, False),
        (Count(0, 9), True, False),
        (Count(0, 9), "3", False),
        (Text("[A-Z]+", 3), "ABC", True),
        (Text("[A-Z]+", 3), "ABCD", False),
        (Text("[A-Z]+", 3), 7, False),
        (Schema({}), {"a": 1}, True),
        (Schema({}), None, False),
        (Free(), None, True),
    ],
)
def test_only_an_allowed_value_is_believed(grammar: Grammar, value: object, believed: bool) -> None:
    assert (objection(replace(GOOD, value=value), grammar) is None) is believed
