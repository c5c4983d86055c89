"""Pictures across processes without copying through a pipe: slots in one anonymous piece of shared memory.

The memory has no name (Linux memfd): it is handed over as a file descriptor and vanishes with the last
process that has it, so that nothing is left behind after `kill -9`, and a container's small /dev/shm does
not matter. The reader maps it read-only. Pages count as memory only once used.

Every slot begins with the id of the ask that owns it: a reader that finds another id would be judging
another part's picture, and refuses.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

import numpy as np

from lineside.daemon.engine_worker.messages import AskEngine, PictureRef
from lineside.engines.base import Clip, Image

_HEADER = 64  # bytes before the first picture: the owner's id, and the rest keeps pictures on cache lines


class PicturesTooLarge(Exception):
    """The pictures of one ask do not fit into a slot; the message names the sizes."""


class NotAPicture(Exception):
    """An array that is no RGB picture or clip; the message says what it is."""


class WrongSlot(Exception):
    """A slot that holds another ask's pictures."""


class FrameSlots:
    """The writing side: owns the memory. `count` slots of `slot_bytes` each."""

    def __init__(self, count: int, slot_bytes: int) -> None:
        self._count = count
        self._slot_bytes = slot_bytes
        self._fd = -1
        self._memory: mmap.mmap | None = None

    @property
    def fd(self) -> int:
        """The descriptor to hand to the reading process."""
        return self._fd

    def open(self) -> None:
        """Allocates the memory once."""
        self._fd = os.memfd_create("lineside-frames", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, self._count * self._slot_bytes)
        self._memory = mmap.mmap(self._fd, self._count * self._slot_bytes)

    def close(self) -> None:
        """Gives the memory back; safe to call twice."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
            os.close(self._fd)
            self._fd = -1

    def put(self, slot: int, owner: int, images: Sequence[Image | Clip]) -> tuple[PictureRef, ...]:
        """Copies the pictures of ask `owner` into `slot`.

        Raises:
            PicturesTooLarge, NotAPicture: nothing usable was written.
        """
        if self._memory is None:
            raise ValueError("the frame memory is not open")
        start = slot * self._slot_bytes
        offset = start + _HEADER
        end = start + self._slot_bytes
        refs = []
        for image in images:
            array, fps = (image.frames, image.fps) if isinstance(image, Clip) else (image, None)
            _check(array, dimensions=4 if isinstance(image, Clip) else 3)
            if offset + array.nbytes > end:
                total = sum(i.frames.nbytes if isinstance(i, Clip) else i.nbytes for i in images)
                raise PicturesTooLarge(
                    f"pictures of {total:,} bytes exceed the {self._slot_bytes - _HEADER:,} bytes of a slot: "
                    "crop closer, or raise the engine's slot_bytes"
                )
            np.ndarray(array.shape, np.uint8, buffer=self._memory, offset=offset)[...] = array
            refs.append(PictureRef(offset, tuple(int(n) for n in array.shape), fps))
            offset += -(-array.nbytes // _HEADER) * _HEADER
        np.ndarray((1,), np.uint64, buffer=self._memory, offset=start)[0] = owner
        return tuple(refs)


class FrameReader:
    """The reading side: arrays over the same memory, read-only and without a copy."""

    def __init__(self, fd: int, count: int, slot_bytes: int) -> None:
        self._memory = mmap.mmap(fd, count * slot_bytes, prot=mmap.PROT_READ)
        self._slot_bytes = slot_bytes

    def pictures(self, ask: AskEngine) -> list[Image | Clip]:
        """The pictures of `ask`; valid until it is answered.

        Raises:
            WrongSlot: the slot belongs to another ask.
        """
        self.check(ask)
        pictures: list[Image | Clip] = []
        for ref in ask.pictures:
            array = np.ndarray(ref.shape, np.uint8, buffer=self._memory, offset=ref.offset)
            pictures.append(array if ref.fps is None else Clip(array, ref.fps))
        return pictures

    def check(self, ask: AskEngine) -> None:
        """Raises WrongSlot when the slot of `ask` is not (or no longer) its own."""
        owner = int(np.ndarray((1,), np.uint64, buffer=self._memory, offset=ask.slot * self._slot_bytes)[0])
        if owner != ask.id:
            raise WrongSlot(f"slot {ask.slot} holds the pictures of ask {owner}, not of ask {ask.id}")


def _check(array: Image, dimensions: int) -> None:
    if array.dtype != np.uint8 or array.ndim != dimensions or array.shape[-1] != 3 or array.size == 0:
        raise NotAPicture(f"not an RGB uint8 picture: {array.dtype} of shape {array.shape}")
