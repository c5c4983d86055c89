"""How long this store has been watching: the scale on which pictures are kept.

A wall clock that is set wrong, or set right after having been wrong, must not end the time of keeping
of anything. So that time is not measured against the calendar: while a store is open, the monotonic
clock counts. What passed between two runs is taken from the wall clock, and only when it was synchronised
before and after; at most `LONGEST_GAP` of it is believed. The scale may therefore run slow, and pictures
stay longer than they must; it runs ahead of the truth by no more than `LONGEST_GAP` a run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from lineside.daemon.clock import Clock
from lineside.daemon.store.device_state import number, set_state, state
from lineside.daemon.store.records import from_rfc3339, rfc3339

LONGEST_GAP = timedelta(days=7)
"""What a wall clock is believed of the time that the store was closed. Longer: pictures are kept longer."""

_SECONDS, _WALL, _WALL_SECONDS = "keeping.witnessed_s", "keeping.wall", "keeping.wall_witnessed_s"


@dataclass(frozen=True, slots=True)
class Mark:
    """The scale as one run hands it to the next.

    `wall` is the last synchronised wall time, seen when the scale read `wall_seconds`; None: never.
    """

    seconds: int = 0
    wall: datetime | None = None
    wall_seconds: int = 0


class WitnessedTime:
    """The scale of one run. Owned by one thread at a time."""

    def __init__(self, clock: Clock, mark: Mark) -> None:
        self._clock = clock
        self._mark = mark
        self._base_s = float(mark.seconds)
        self._started_ns = clock.monotonic_ns()
        self._gap_judged = False

    def passed(self) -> int:
        """Whole seconds that have certainly been witnessed: a deadline up to here is over."""
        return math.floor(self._reading())

    def deadline(self, decided_at: datetime, keep_until: datetime) -> int:
        """Where on the scale a picture stored now may go.

        Both times are of the same clock, so that its error falls out: what counts is how far they lie apart.
        """
        kept_for = max(timedelta(), keep_until - decided_at)
        if self._mark.wall is not None and not self._gap_judged:
            # The scale may still jump by the time before this run, which this picture has not seen.
            kept_for += LONGEST_GAP
        return math.ceil(self._reading() + kept_for.total_seconds())

    def look(self) -> timedelta:
        """Compares with the wall clock, once it is synchronised, and makes up for the time between the runs.

        Returns:
            how much of that time was not believed; zero but for the first look that could tell.
        """
        if not self._clock.synchronised():
            return timedelta()
        wall = self._clock.now()
        doubted = timedelta() if self._gap_judged else self._make_up(wall)
        self._gap_judged = True
        self._mark = Mark(self.passed(), wall, self.passed())
        return doubted

    def mark(self) -> Mark:
        """The scale as it is now, for the next run."""
        return Mark(self.passed(), self._mark.wall, self._mark.wall_seconds)

    def _make_up(self, wall: datetime) -> timedelta:
        if self._mark.wall is None:
            return timedelta()
        witnessed = timedelta(seconds=self._reading() - self._mark.wall_seconds)
        gap = max(timedelta(), wall - self._mark.wall - witnessed)
        believed = min(gap, LONGEST_GAP)
        self._base_s += believed.total_seconds()
        return gap - believed

    def _reading(self) -> float:
        return self._base_s + max(0, self._clock.monotonic_ns() - self._started_ns) / 1e9


def load_mark(connection: Connection) -> Mark:
    """What the last run handed on; all zero in a new database."""
    wall = state(connection, _WALL)
    return Mark(
        seconds=number(connection, _SECONDS),
        wall=None if wall is None else from_rfc3339(wall),
        wall_seconds=number(connection, _WALL_SECONDS),
    )


def save_mark(connection: Connection, mark: Mark) -> None:
    """Hands the scale on to the next run."""
    set_state(connection, _SECONDS, str(mark.seconds))
    if mark.wall is not None:
        set_state(connection, _WALL, rfc3339(mark.wall))
        set_state(connection, _WALL_SECONDS, str(mark.wall_seconds))
