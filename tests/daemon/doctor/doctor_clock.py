"""A clock for devices under examination."""

from __future__ import annotations

from datetime import UTC, datetime

from lineside.daemon.clock import SystemClock


class SetClock(SystemClock):
    """The system's clock, with a wall time and a synchronisation that the test chooses."""

    def __init__(self, *, synchronised: bool = True, now: datetime | None = None) -> None:
        self._synchronised = synchronised
        self._now = now

    def synchronised(self) -> bool:
        return self._synchronised

    def now(self) -> datetime:
        return self._now or datetime.now(UTC)
