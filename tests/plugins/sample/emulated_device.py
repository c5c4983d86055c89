"""A GPU that is none: memory of this process, and kernels compiled by g++ from the very source.

It stands at the hardware's edge (`lineside.plugins.check.device.Device`). Addresses are real, so a kernel
that writes beside its tensors does; times are the ones a test gives. `spoilt` makes the sample kernel
wrong in one line, to see that the check sees it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scaled_add import KERNEL

from lineside.plugins.check.device import Call, DeviceFacts, DeviceFault, Loaded
from lineside.plugins.host.build import build
from lineside.plugins.operator import Kernel
from lineside.plugins.ptx.compile import Compiled

FACTS = DeviceFacts(
    name="Emulated",
    capability=(8, 7),
    cuda=(13, 0),
    multiprocessors=8,
    memory=8 << 30,
    cache=1 << 20,
    stated_bytes_s=100e9,
)
MEMORY = 64 << 20


class EmulatedDevice:
    """`pass_seconds`: what a pass of launches takes; `copy_bytes_s`: how fast it says it copies."""

    def __init__(
        self, pass_seconds: float = 1e-3, copy_bytes_s: float = 80e9, facts: DeviceFacts = FACTS
    ) -> None:
        self.facts = facts
        self.pass_seconds = pass_seconds
        self.copy_bytes_s = copy_bytes_s
        self.allocated: dict[int, NDArray[np.uint8]] = {}
        self.timed: list[Sequence[Call]] = []
        self.spent = {"registers": 20, "local": 0, "shared": 0}
        self.closed = False

    def load(self, compiled: Compiled) -> Loaded:
        library = ctypes.CDLL(str(build(compiled.kernel, compiled.variant)))
        library.cuda_on_host_launch.restype = ctypes.c_char_p
        return Loaded(compiled=compiled, handle=library, **self.spent)

    def allocate(self, size: int) -> int:
        assert not self.closed
        room = np.zeros(size + 256, np.uint8)
        address = room.ctypes.data + -room.ctypes.data % 256
        self.allocated[address] = room
        return address

    def free(self, address: int) -> None:
        del self.allocated[address]

    def available(self) -> int:
        return MEMORY - sum(room.nbytes for room in self.allocated.values())

    def write(self, address: int, content: NDArray[np.uint8]) -> None:
        ctypes.memmove(address, content.ctypes.data, content.nbytes)

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        return np.frombuffer(ctypes.string_at(address, size), np.uint8)

    def fill(self, address: int, byte: int, size: int) -> None:
        ctypes.memset(address, byte, size)

    def run(self, call: Call) -> None:
        values: list[ctypes.c_void_p | ctypes.c_int32] = [ctypes.c_void_p(place) for place in call.inputs]
        values += [ctypes.c_int32(int(number)) for number in call.launch.scalars]
        values += [ctypes.c_void_p(place) for place in call.outputs]
        places = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        grid = (ctypes.c_uint * 3)(*(int(blocks) for blocks in call.launch.grid))
        block = (ctypes.c_uint * 3)(*call.launch.block)
        shared = int(call.launch.shared_bytes)
        why = call.loaded.handle.cuda_on_host_launch(places, grid, block, shared, 0)
        if why is not None:
            raise DeviceFault(why.decode())

    def time(self, calls: Sequence[Call], repeats: int) -> list[float]:
        self.timed.append(calls)
        return [self.pass_seconds * (1 + index % 3) for index in range(repeats)]

    def time_copy(self, size: int, repeats: int) -> list[float]:
        return [2 * size / self.copy_bytes_s] * repeats

    def close(self) -> None:
        self.closed = True
        self.allocated.clear()


def spoilt(folder: Path, before: str, after: str) -> Kernel:
    """The sample kernel with `before` in its source changed to `after`; the source lies in `folder`."""
    text = KERNEL.source.read_text()
    assert before in text
    source = folder / KERNEL.source.name
    source.write_text(text.replace(before, after))
    return replace(KERNEL, source=source)
