"""How long a kernel takes beside how long its bytes need at least, over memory that no cache holds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from lineside.plugins.check.buffers import Arguments, arguments, on_device
from lineside.plugins.check.device import Device, Loaded
from lineside.plugins.operator import Case

REPEATS = 20
LAUNCHES = 16
"""At least so many launches a pass: a single one is too short to time."""
_MOST_COPIES = 256
_COPY = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Median seconds of a launch, the floor that bandwidth sets, and whether caches may have helped."""

    seconds: float
    floor: float
    flops_s: float
    cached: bool

    @property
    def fraction(self) -> float:
        """The floor's share of the time: 1 is as fast as memory allows."""
        return self.floor / self.seconds


def copy_bandwidth(device: Device, repeats: int = REPEATS) -> float:
    """Bytes a second that the device reads and writes while it copies, counting both."""
    size = min(_COPY, device.available() // 4) // 256 * 256
    return 2 * size / statistics.median(device.time_copy(size, repeats))


def measure(device: Device, loaded: Loaded, case: Case, bytes_s: float, repeats: int = REPEATS) -> Speed:
    """Times `case`; each launch of a pass has tensors of its own, so that they come from memory.

    `bytes_s`: the device's measured bandwidth. Raises DeviceFault, ValueError.
    """
    kernel, variant = loaded.compiled.kernel, loaded.compiled.variant
    given = arguments(loaded, case)
    copies = copies_beyond_cache(device, given)
    with on_device(device, given, copies) as sets:
        launches = max(copies, LAUNCHES)
        calls = [sets[index % copies].call(loaded) for index in range(launches)]
        seconds = statistics.median(device.time(calls, repeats)) / launches
    return Speed(
        seconds=seconds,
        floor=kernel.bytes_moved(case.sizes, variant) / bytes_s,
        flops_s=kernel.flops(case.sizes, variant) / seconds,
        cached=copies * given.footprint < 2 * device.facts.cache,
    )


def copies_beyond_cache(device: Device, given: Arguments) -> int:
    """How many sets of tensors fill the level-2 cache four times, as far as memory and patience allow."""
    enough = -(-4 * device.facts.cache // max(given.footprint, 1))
    room = device.available() // 2 // max(given.footprint, 1)
    return max(1, min(enough, room, _MOST_COPIES))
