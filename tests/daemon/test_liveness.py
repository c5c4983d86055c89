"""A loop that ended or no longer turns is named; one that has nothing to do, or is merely slow, is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.liveness import SLOWEST_TURN_S, Liveness, Pulse

SECOND = 1_000_000_000
TURNING = Pulse("inspect:st1", running=True, turns=0)


def test_a_loop_that_turns_is_alive_for_ever() -> None:
    liveness = Liveness()
    for n in range(100):
        assert liveness.objections([replace(TURNING, turns=n)], n * 20 * SECOND) == ()


def test_a_loop_that_no_longer_turns_is_named_once_no_turn_can_take_so_long() -> None:
    liveness = Liveness()
    assert liveness.objections([TURNING], 0) == ()
    assert liveness.objections([TURNING], int(SLOWEST_TURN_S * SECOND)) == ()

    assert liveness.objections([TURNING], 31 * SECOND) == ("inspect:st1 is stuck for 31 s",)
    assert liveness.objections([replace(TURNING, turns=1)], 32 * SECOND) == ()


def test_a_long_deadline_makes_a_long_turn() -> None:
    liveness, patient = Liveness(), replace(TURNING, longest_s=600.0)
    liveness.objections([patient], 0)

    assert liveness.objections([patient], 599 * SECOND) == ()
    assert liveness.objections([patient], 601 * SECOND) != ()


def test_a_loop_that_ended_is_named_at_once() -> None:
    ended = replace(TURNING, running=False)
    assert Liveness().objections([ended, TURNING], 0) == ("inspect:st1 has ended",)


def test_a_writer_with_nothing_to_write_need_not_turn_and_its_time_begins_with_the_next_write() -> None:
    liveness, idle = Liveness(), replace(TURNING, idle=True)
    for n in range(10):
        assert liveness.objections([idle], n * 100 * SECOND) == ()

    assert liveness.objections([TURNING], 910 * SECOND) == ()
    assert liveness.objections([TURNING], 931 * SECOND) != ()


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=50))
def test_whatever_happens_stuck_means_no_turn_for_longer_than_a_turn(steps: list[tuple[int, bool]]) -> None:
    liveness, now, turns, turned_at = Liveness(), 0, 0, 0
    liveness.objections([TURNING], 0)
    for wait_s, turns_now in steps:
        now += wait_s
        if turns_now:
            turns, turned_at = turns + 1, now
        stuck = liveness.objections([replace(TURNING, turns=turns)], now * SECOND) != ()
        assert stuck == (now - turned_at > SLOWEST_TURN_S)


@pytest.mark.parametrize("other", [TURNING, replace(TURNING, name="trigger:st1")])
def test_one_stuck_loop_is_enough(other: Pulse) -> None:
    liveness = Liveness()
    liveness.objections([TURNING, replace(other, name="other")], 0)

    found = liveness.objections([TURNING, replace(other, name="other", turns=1)], 60 * SECOND)

    assert found == ("inspect:st1 is stuck for 60 s",)
