"""Time as an argument: what the rest takes instead of asking the operating system itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import uuid_utils

from lineside.daemon import kernel_clock


class Clock(Protocol):
    """Wall time, monotonic time, and whether the wall time is to be believed."""

    def now(self) -> datetime: ...

    def monotonic_ns(self) -> int: ...

    def synchronised(self) -> bool: ...

    def new_id(self) -> str:
        """A time-ordered unique id (UUIDv7)."""
        ...


class SystemClock:
    """The operating system's clocks."""

    def now(self) -> datetime:
        """UTC wall time."""
        return datetime.now(UTC)

    def monotonic_ns(self) -> int:
        """Nanoseconds of a clock that never steps."""
        return time.monotonic_ns()

    def synchronised(self) -> bool:
        """Whether a time service (timesyncd, chrony, ntpd, PTP) keeps the clock, as the kernel sees it."""
        return kernel_clock.synchronised()

    def new_id(self) -> str:
        """A UUIDv7: ids sort by time."""
        return str(uuid_utils.uuid7())


def boot_id() -> str:
    """The kernel's id of this boot, so that monotonic times of different boots are never compared."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else "unknown"
