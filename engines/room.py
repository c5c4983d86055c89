"""What the machine has room for: the disk and the memory that a build needs, and errors that say so.

Knows sizes and the system's error numbers; does not know graphs.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

from lineside.engines.archive import MAX_UNPACKED_BYTES, SUFFIX
from lineside.engines.errors import EngineError
from lineside.engines.memory import free_bytes, size_text
from lineside.engines.quantise.forms import Precision
from lineside.engines.weights import Checkpoint

# About how many bits a weight takes in the end; an int4 model has 8-bit parts, and scales.
_BITS_ABOUT: dict[Precision, float] = {"fp32": 32.0, "fp16": 16.5, "int8": 9.0, "int4": 5.5}
_BITS_LOADED: dict[Precision, float] = {"fp16": 36.0}  # unfolded to float32 while the file's are still there
_BUILDING_BYTES = 250 << 20  # Python, its libraries, and a few rows at a time: whatever the model's size
_CALIBRATING = 1.0  # bytes a weight: 8 bits, their scales, and what the pictures send through


class CannotBuild(EngineError):
    """The machine stands in the way: no room on the disk, not enough memory. Nothing was left behind."""


@contextmanager
def machine_errors(out: Path) -> Iterator[None]:
    """Full disks and exhausted memory as errors that say so; whatever was begun has been removed by then.

    Raises:
        CannotBuild: what to do about it.
    """
    try:
        yield
    except MemoryError as error:
        raise CannotBuild(
            "there is not enough memory to build this engine: close other programs, or build it on a larger "
            "machine and copy the bundle."
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise CannotBuild(
                f"the disk of {out.parent} is full: free some room, or write elsewhere."
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise CannotBuild(
                f"{error.filename or out.parent} cannot be written: {error.strerror}."
            ) from error
        raise


@dataclass(frozen=True, slots=True)
class RoomNeeded:
    """Bytes that a build takes, about: of disk in all, and of memory in each of its steps.

    `calibrating`, `testing`: 0 where the build does without.
    """

    bundle: int
    disk: int
    building: int
    calibrating: int
    testing: int

    @property
    def memory(self) -> int:
        """Of the step that takes the most."""
        return max(self.building, self.calibrating, self.testing)

    def __str__(self) -> str:
        steps = f"{size_text(self.building)} to build"
        if self.calibrating:
            steps += f", {size_text(self.calibrating)} to calibrate"
        if self.testing:
            steps += f", {size_text(self.testing)} for the self-test"
        return f"about {size_text(self.disk)} of disk, half of it the bundle; memory: {steps}"


def room_needed(
    checkpoint: Checkpoint, precision: Precision, *, calibrate: bool, selftest: bool
) -> RoomNeeded:
    """The forecast for a build, from the checkpoint's sizes alone; factors measured (docs/engines.md)."""
    weights = sum(prod(one.shape) for one in checkpoint.tensors.values())
    bundle = int(weights * _BITS_ABOUT[precision] / 8)
    loaded = int(weights * _BITS_LOADED.get(precision, _BITS_ABOUT[precision]) / 8)
    return RoomNeeded(
        bundle=bundle,
        disk=2 * bundle,
        building=_BUILDING_BYTES,
        calibrating=_BUILDING_BYTES + int(_CALIBRATING * weights) if calibrate else 0,
        testing=_BUILDING_BYTES + loaded if selftest else 0,
    )


def check_room(needed: RoomNeeded, out: Path) -> None:
    """Refuses at once what would fill the disk or the memory an hour later.

    Raises:
        CannotBuild: too little is free, or an archive cannot hold so much.
    """
    free = shutil.disk_usage(out.parent).free
    if needed.disk > free:
        raise CannotBuild(
            f"building {out.name} takes about {size_text(needed.disk)} of disk (half of it is the bundle), "
            f"{size_text(free)} are free in {out.parent}: free some room, write elsewhere, or choose a "
            "smaller --precision."
        )
    if out.suffix == SUFFIX and needed.bundle > MAX_UNPACKED_BYTES:
        raise CannotBuild(
            f"an {SUFFIX} archive holds up to {size_text(MAX_UNPACKED_BYTES)}, this engine takes about "
            f"{size_text(needed.bundle)}: write a folder (-o NAME), or choose a smaller --precision."
        )
    memory = free_bytes()
    if memory is None or needed.memory <= memory:
        return
    for step, takes, instead in (
        ("calibrating runs the whole model at 8 bits and", needed.calibrating, "leave --calibrate out"),
        ("the self-test loads the finished engine and", needed.testing, "add --no-selftest"),
        ("building", needed.building, "close other programs"),
    ):
        if takes > memory:
            raise CannotBuild(
                f"{step} takes about {size_text(takes)} of memory, {size_text(memory)} are free: {instead}, "
                "or build on a larger machine and copy the bundle."
            )
