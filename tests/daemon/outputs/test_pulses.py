"""When a line is on: never shorter than a pulse, never on without one, the same however often one looks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.outputs.pulses import Pulses

LENGTH, LATE = 100, 20
MOMENTS = st.lists(st.integers(0, 3000), max_size=30)


def levels(moments: list[int], until: int) -> list[bool]:
    """What the line must show at each tick, straight from the words: on while any pulse runs."""
    return [any(begin <= tick < begin + LENGTH for begin in moments) for tick in range(until)]


@given(MOMENTS)
def test_asked_in_time_the_line_is_on_exactly_while_a_pulse_runs(moments: list[int]) -> None:
    pulses = Pulses(LENGTH, LATE)
    for moment in moments:
        pulses.ask(moment)
    seen = [pulses.at(tick) for tick in range(3200)]
    assert [edges.level for edges in seen] == levels(moments, 3200)
    assert sum(edges.begun for edges in seen) == len(moments)
    assert sum(edges.late for edges in seen) == 0
    assert pulses.waiting == 0


@given(MOMENTS)
def test_looking_only_when_told_to_sees_the_same_edges(moments: list[int]) -> None:
    pulses = Pulses(LENGTH, LATE)
    for moment in moments:
        pulses.ask(moment)
    shown: list[bool] = []
    tick, level = 0, False
    while True:
        edges = pulses.at(tick)
        shown += [level] * (tick - len(shown))
        level = edges.level
        if edges.next_ns is None:
            break
        assert edges.next_ns > tick
        tick = edges.next_ns
    assert shown == levels(moments, len(shown))
    assert not level


@given(st.integers(0, 10_000), st.integers(1, 5 * LENGTH))
def test_a_pulse_has_its_whole_length_however_late_it_begins_and_counts_as_late_beyond_the_limit(
    delay: int, late: int
) -> None:
    pulses = Pulses(LENGTH, late)
    pulses.ask(5)
    edges = pulses.at(5 + delay)
    assert (edges.level, edges.begun, edges.late) == (True, 1, int(delay > late))
    assert pulses.at(5 + delay + LENGTH - 1).level
    assert not pulses.at(5 + delay + LENGTH).level
