"""When a line is on: pulses that were asked for, merged where they overlap. No thread, clock or hardware."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Edges:
    """What to do now: the level the line must have, and how many pulses began, and began too late."""

    level: bool
    begun: int
    late: int
    next_ns: int | None
    """When to look again; None: not before something new is asked."""


@dataclass(slots=True)
class Pulses:
    """All pulses still to come of one line. Times are monotonic nanoseconds.

    A pulse whose moment has passed starts at once and has its whole length: a gate that is late may still
    catch the part, and a shortened pulse may do nothing at all. Pulses that overlap hold the line on
    without a gap.
    """

    length_ns: int
    late_ns: int
    _due: list[int] = field(default_factory=list)
    _on_until: int | None = None

    def ask(self, at_ns: int) -> None:
        """Wants a pulse that begins at `at_ns`."""
        heapq.heappush(self._due, at_ns)

    @property
    def waiting(self) -> int:
        """Pulses that have not begun."""
        return len(self._due)

    def at(self, now_ns: int) -> Edges:
        """Advances to `now_ns`, which never goes back."""
        count = late = 0
        while self._due and self._due[0] <= now_ns:
            due = heapq.heappop(self._due)
            count += 1
            late += now_ns - due > self.late_ns
            # Its whole length from when it really begins: counted from when it was due it could be over
            # before the line was ever on.
            end = now_ns + self.length_ns
            self._on_until = end if self._on_until is None else max(self._on_until, end)
        if self._on_until is not None and self._on_until <= now_ns:
            self._on_until = None
        level = self._on_until is not None
        upcoming = [moment for moment in (self._on_until, self._due[0] if self._due else None) if moment]
        return Edges(level, count, late, min(upcoming, default=None))
