"""The scale of keeping: never ahead of the truth while the clock is honest, and hardly when it lies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from store_samples import TestClock

from lineside.daemon.store import schema
from lineside.daemon.store.witnessed import LONGEST_GAP, Mark, WitnessedTime, load_mark, save_mark

DAY_S = 86_400


@dataclass(frozen=True)
class Run:
    """One life of the store: switched off before it, then steps of running time."""

    off_s: int
    synchronised: tuple[bool, ...]
    step_s: int


runs = st.lists(
    st.builds(
        Run,
        off_s=st.integers(0, 40 * DAY_S),
        synchronised=st.lists(st.booleans(), min_size=1, max_size=4).map(tuple),
        step_s=st.integers(0, 20 * DAY_S),
    ),
    min_size=1,
    max_size=6,
)


def live(clock: TestClock, mark: Mark, run: Run, promises: list[tuple[int, int]], true_s: int) -> Mark:
    """Looks and steps; each step promises to keep a picture for ten days: true end, and the deadline."""
    witnessed = WitnessedTime(clock, mark)
    for synchronised in run.synchronised:
        clock.is_synchronised = synchronised
        witnessed.look()
        promises.append(
            (true_s + 10 * DAY_S, witnessed.deadline(clock.time, clock.time + timedelta(days=10)))
        )
        clock.pass_time(seconds=run.step_s)
        true_s += run.step_s
        assert_kept(promises, witnessed.passed(), true_s)
    return witnessed.mark()


def assert_kept(promises: list[tuple[int, int]], passed: int, true_s: int) -> None:
    """Nothing is over on the scale that is not over in truth (the clock runs a millisecond a look ahead)."""
    assert all(true_s >= true_end - 1 for true_end, deadline in promises if deadline <= passed)


@given(runs)
def test_with_an_honest_clock_no_picture_goes_early_however_often_it_is_switched_off(
    lives: list[Run],
) -> None:
    clock, mark, true_s = TestClock(), Mark(), 0
    promises: list[tuple[int, int]] = []
    for run in lives:
        clock.time += timedelta(seconds=run.off_s)
        true_s += run.off_s
        mark = live(clock, mark, run, promises, true_s)
        true_s += run.step_s * len(run.synchronised)


@given(runs)
def test_a_synchronised_device_that_is_off_for_days_at_most_keeps_to_the_second(lives: list[Run]) -> None:
    clock, mark, true_s = TestClock(), Mark(), 0
    for number, run in enumerate(lives):
        off_s = run.off_s % int(LONGEST_GAP.total_seconds()) if number else 0
        clock.time += timedelta(seconds=off_s)
        clock.pass_time(seconds=0)
        witnessed = WitnessedTime(clock, mark)
        assert witnessed.look() == timedelta()
        clock.pass_time(seconds=run.step_s)
        assert witnessed.look() == timedelta()
        true_s += off_s + run.step_s
        mark = witnessed.mark()
        assert math.isclose(mark.seconds, true_s, abs_tol=1 + number)


@given(st.lists(st.tuples(st.integers(-40 * 365, 40 * 365), st.booleans(), st.integers(0, 10)), max_size=20))
def test_while_it_runs_no_step_of_the_wall_clock_moves_the_scale(steps: list[tuple[int, bool, int]]) -> None:
    clock = TestClock()
    witnessed = WitnessedTime(clock, Mark())
    true_s = 0
    for days, synchronised, seconds in steps:
        clock.time = TestClock().time + timedelta(days=days)
        clock.is_synchronised = synchronised
        assert witnessed.look() == timedelta()
        clock.pass_time(seconds=seconds)
        true_s += seconds
        assert witnessed.passed() == true_s


@given(st.lists(st.integers(-40 * 365, 40 * 365), max_size=8))
def test_a_lying_clock_gains_a_week_at_most_each_time_the_store_is_opened(lies: list[int]) -> None:
    clock, mark = TestClock(), Mark()
    for days in lies:
        clock.time = TestClock().time + timedelta(days=days)
        before = mark.seconds
        witnessed = WitnessedTime(clock, mark)
        witnessed.look()
        mark = witnessed.mark()
        assert 0 <= mark.seconds - before <= LONGEST_GAP.total_seconds()


def test_what_is_not_believed_is_told_once(clock: TestClock) -> None:
    witnessed = WitnessedTime(
        clock, Mark(seconds=100, wall=clock.time - timedelta(days=30), wall_seconds=100)
    )
    clock.is_synchronised = False
    assert witnessed.look() == timedelta()
    clock.is_synchronised = True
    assert witnessed.look().days == 23
    assert witnessed.look() == timedelta()
    assert witnessed.passed() == 100 + 7 * DAY_S


def test_a_device_that_was_never_synchronised_counts_what_it_has_run(clock: TestClock) -> None:
    clock.is_synchronised = False
    mark = Mark()
    for _ in range(3):
        clock.time += timedelta(days=100)
        witnessed = WitnessedTime(clock, mark)
        witnessed.look()
        clock.pass_time(days=1)
        mark = witnessed.mark()
    assert mark == Mark(seconds=3 * DAY_S)


@pytest.mark.parametrize("wall", [True, False])
def test_the_mark_is_read_as_it_was_written(clock: TestClock, wall: bool) -> None:
    mark = Mark(seconds=12, wall=clock.now(), wall_seconds=11) if wall else Mark(seconds=12)
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        assert load_mark(connection) == Mark()
        save_mark(connection, mark)
        assert load_mark(connection) == mark
    engine.dispose()
