"""What the machine has room for: the disk and the memory that a build needs, and errors that say so.

Knows sizes and the system's error numbers; does not know graphs.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

from lineside.engines.archive import MAX_UNPACKED_BYTES, SUFFIX
from lineside.engines.errors import EngineError
from lineside.engines.quantise.forms import Precision
from lineside.engines.weights import Checkpoint

# About how many bits a weight takes in the end; an int4 model has 8-bit parts, and scales.
_BITS_ABOUT: dict[Precision, float] = {"fp32": 32.0, "fp16": 16.5, "int8": 9.0, "int4": 5.5}


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


def check_room(checkpoint: Checkpoint, precision: Precision, out: Path) -> None:
    """Refuses at once what would fill the disk an hour later.

    Raises:
        CannotBuild: too little is free, or an archive cannot hold so much.
    """
    weights = sum(prod(one.shape) for one in checkpoint.tensors.values())
    bundle = int(weights * _BITS_ABOUT[precision] / 8)
    free = shutil.disk_usage(out.parent).free
    # Twice: the files, and the bundle that is made of them.
    if 2 * bundle > free:
        raise CannotBuild(
            f"building {out.name} takes about {2 * bundle / 1e9:.1f} GB of disk (half of it is the bundle), "
            f"{free / 1e9:.1f} GB are free in {out.parent}: free some room, write elsewhere, or choose a "
            "smaller --precision."
        )
    if out.suffix == SUFFIX and bundle > MAX_UNPACKED_BYTES:
        raise CannotBuild(
            f"an {SUFFIX} archive holds up to {MAX_UNPACKED_BYTES / 1e9:.0f} GB, this engine takes about "
            f"{bundle / 1e9:.0f} GB: write a folder (-o NAME), or choose a smaller --precision."
        )
