"""Whether the loops that do the work still turn: what decides if the service manager's watchdog is fed.

A loop that works adds one to its `turns` each time round, also when there is nothing to do. One that ended,
or has not turned for longer than a turn can take, does no work, however well the rest of the process looks.
Knows no threads, clocks or sockets. Trouble that a restart does not mend (no camera, no engine, a full disk)
is no lack of life: stations say so themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SLOWEST_TURN_S = 30.0
"""Longer than all that a turn waits for but the verdict itself: the store's queue (10 s), a slow disk."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """One loop as seen now.

    `turns`: differs from what was seen before once the loop has gone round. `idle`: it need not turn now.
    `longest_s`: a turn that takes longer will not end.
    """

    name: str
    running: bool
    turns: int
    longest_s: float = SLOWEST_TURN_S
    idle: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    turns: int
    since_ns: int


class Liveness:
    """Remembers when each loop was last seen to have turned. For one thread."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def objections(self, pulses: Iterable[Pulse], now_ns: int) -> tuple[str, ...]:
        """Why the watchdog must not be fed; empty when all loops live. `now_ns`: monotonic."""
        found = (self._objection(pulse, now_ns) for pulse in pulses)
        return tuple(objection for objection in found if objection is not None)

    def _objection(self, pulse: Pulse, now_ns: int) -> str | None:
        if not pulse.running:
            return f"{pulse.name} has ended"
        seen = self._seen.get(pulse.name)
        if seen is None or pulse.idle or seen.turns != pulse.turns:
            self._seen[pulse.name] = _Seen(pulse.turns, now_ns)
            return None
        stuck_s = (now_ns - seen.since_ns) / 1e9
        return f"{pulse.name} is stuck for {stuck_s:.0f} s" if stuck_s > pulse.longest_s else None
