"""What the kernel says of its own clock: whether anything steers it, and how wrong it may be.

Every time service (timesyncd, chrony, ntpd, a PTP servo that steers this clock) tells the kernel through
`adjtimex(2)`, so one question answers for all of them. Reading needs no privilege: `modes` is 0.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

_UNSYNCHRONISED = 0x0040
"""`STA_UNSYNC` of `<sys/timex.h>`: set at boot, and again when the time service was quiet for too long."""
TIMESYNCD = Path("/run/systemd/timesync/synchronized")


class _Timex(ctypes.Structure):
    """`struct timex`, its first fields; the rest is room for what the kernel writes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maximum_error", ctypes.c_long),
        ("estimated_error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


TIMEX_BYTES = ctypes.sizeof(_Timex)
"""Room given to the kernel: more than `struct timex` has on any 64-bit Linux (208 bytes)."""


@dataclass(frozen=True)
class KernelClock:
    """`synchronised` as the kernel sees it, and the largest error it would admit, in seconds."""

    synchronised: bool
    maximum_error_s: float


def kernel_clock() -> KernelClock | None:
    """Asks the kernel; None where it may not be asked (a sandbox without the call, another system)."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    said = _Timex(modes=0)
    if ask(ctypes.byref(said)) < 0:
        return None
    return KernelClock(not said.status & _UNSYNCHRONISED, said.maximum_error / 1e6)


def synchronised() -> bool:
    """Whether a time service keeps the wall clock; False when nobody can say."""
    asked = kernel_clock()
    if asked is not None:
        return asked.synchronised
    return os.path.lexists(TIMESYNCD)
