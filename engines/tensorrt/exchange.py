"""What goes to the device and comes back in one run: small arrays packed together, one copy each way.

Packed, because each copy costs a launch, and a decoded token is over in a few milliseconds. Knows arrays and
device memory; does not know what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineside.engines.tensorrt.blocks import Blocks
from lineside.engines.tensorrt.device import ALIGNMENT, Address, PlanTensor, Staging


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor's place: `offset` and `size` in bytes, and how its numbers are written."""

    offset: int
    size: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


def lay_out(tensors: Sequence[tuple[PlanTensor, tuple[int, ...]]]) -> tuple[dict[str, Part], int]:
    """Places for tensors of these shapes, each aligned, and the size of all together."""
    parts: dict[str, Part] = {}
    at = 0
    for tensor, shape in tensors:
        size = tensor.size_bytes(shape)
        parts[tensor.name] = Part(at, size, np.dtype(tensor.dtype), shape)
        at += -(-size // ALIGNMENT) * ALIGNMENT
    return parts, at


class Exchange:
    """Staging and device memory for one direction. Grows; its addresses then change."""

    def __init__(self, blocks: Blocks, size: int = 0) -> None:
        self._blocks = blocks
        self._staging: Staging | None = None
        self._block = blocks.take(max(size, 1))
        self._size = 0
        self.make_room(size)

    def make_room(self, size: int) -> None:
        """Room for `size` bytes. Nothing that is queued may use the old addresses."""
        if size <= self._size and self._staging is not None:
            return
        self.free()
        self._block = self._blocks.take(max(size, 1))
        self._staging = self._blocks.device.staging(self._block.size)
        self._size = self._block.size

    def address(self, part: Part) -> Address:
        """Where a part is on the device."""
        return self._block.address + part.offset

    def write(self, parts: Mapping[str, Part], values: Mapping[str, NDArray[np.generic]]) -> None:
        """Puts arrays into staging, as the numbers that the plan takes."""
        for name, part in parts.items():
            np.copyto(self._view(part), values[name].reshape(part.shape), casting="unsafe")

    def read(self, part: Part) -> NDArray[np.generic]:
        """What lies in staging: valid until the next run."""
        return self._view(part)

    def upload(self, size: int) -> None:
        """Queues the copy of the first `size` bytes to the device."""
        if size:
            self._blocks.device.upload(self._block.address, self._bytes()[:size])

    def download(self, size: int) -> None:
        """Queues the copy of the first `size` bytes from the device."""
        if size:
            self._blocks.device.download(self._bytes()[:size], self._block.address)

    def send(self, target: Address, raw: NDArray[np.uint8]) -> None:
        """Copies bytes, at most as many as there is room for, to anywhere on the device, and waits."""
        self._bytes()[: raw.size] = raw
        self._blocks.device.upload(target, self._bytes()[: raw.size])
        self._blocks.device.synchronise()

    def free(self) -> None:
        """Gives the staging back."""
        if self._staging is not None:
            self._blocks.device.synchronise()
            self._staging.free()
            self._staging = None
            self._size = 0

    def _bytes(self) -> NDArray[np.uint8]:
        assert self._staging is not None
        return self._staging.bytes

    def _view(self, part: Part) -> NDArray[np.generic]:
        return self._bytes()[part.offset : part.offset + part.size].view(part.dtype).reshape(part.shape)
