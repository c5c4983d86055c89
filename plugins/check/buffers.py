"""A kernel's tensors on the device, each between guard zones that a kernel must leave as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.check.device import Call, Device, DeviceFault, Loaded
from lineside.plugins.operator import Case, Integers, Launch, numpy_dtype, output_shapes, sizes_of

GUARD = 256
"""Bytes before and after each tensor; keeps the tensor aligned as the device's allocator would."""
POISON = 0xFF
"""What guards and unwritten outputs hold: not a number in every floating-point type."""


@dataclass(frozen=True)
class Arguments:
    """One run's inputs in the kernel's own types, its launch, and its outputs' shapes and types."""

    launch: Launch
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]

    @property
    def footprint(self) -> int:
        """Bytes of all tensors."""
        outputs = (int(np.prod(shape)) * kind.itemsize for shape, kind in self.outputs.values())
        return sum(array.nbytes for array in self.inputs.values()) + sum(outputs)


def arguments(loaded: Loaded, case: Case) -> Arguments:
    """What a case becomes for one variant. Raises ValueError when its tensors do not fit together."""
    kernel, variant = loaded.compiled.kernel, loaded.compiled.variant
    inputs = {
        tensor.name: np.ascontiguousarray(case.inputs[tensor.name], numpy_dtype(tensor, variant))
        for tensor in kernel.inputs
    }
    sizes = sizes_of(kernel, {name: array.shape for name, array in inputs.items()})
    shapes = output_shapes(kernel, sizes, variant)
    outputs = {tensor.name: (shapes[tensor.name], numpy_dtype(tensor, variant)) for tensor in kernel.outputs}
    return Arguments(kernel.launch(sizes, Integers(), variant), inputs, outputs)


class Buffers:
    """One set of a kernel's tensors in the device's memory."""

    def __init__(self, device: Device, given: Arguments) -> None:
        self._device = device
        self._given = given
        self._sizes = {name: array.nbytes for name, array in given.inputs.items()} | {
            name: int(np.prod(shape)) * kind.itemsize for name, (shape, kind) in given.outputs.items()
        }
        self._places: dict[str, int] = {}

    def open(self) -> None:
        """Allocates, fills the guards and writes the inputs; outputs are poisoned."""
        for name, size in self._sizes.items():
            place = self._device.allocate(_room(size))
            self._places[name] = place
            self._device.fill(place, POISON, _room(size))
            if name in self._given.inputs:
                self._device.write(place + GUARD, _bytes(self._given.inputs[name]))

    def close(self) -> None:
        """Frees all of it."""
        for place in self._places.values():
            self._device.free(place)
        self._places.clear()

    def call(self, loaded: Loaded) -> Call:
        """The launch on these tensors."""
        return Call(
            loaded=loaded,
            launch=self._given.launch,
            inputs=tuple(self._places[name] + GUARD for name in self._given.inputs),
            outputs=tuple(self._places[name] + GUARD for name in self._given.outputs),
        )

    def poison(self, byte: int) -> None:
        """Fills every output with `byte`."""
        for name in self._given.outputs:
            self._device.fill(self._places[name] + GUARD, byte, self._sizes[name])

    def trespasses(self) -> list[str]:
        """Where a launch wrote though it may not: inputs, and what lies around any tensor."""
        found = []
        for name, size in self._sizes.items():
            room = self._device.read(self._places[name], _room(size))
            if (room[:GUARD] != POISON).any() or (room[GUARD + size :] != POISON).any():
                found.append(f"it wrote outside {name}")
            given = self._given.inputs.get(name)
            if given is not None and (room[GUARD : GUARD + size] != _bytes(given)).any():
                found.append(f"it wrote to its input {name}")
        return found

    def outputs(self) -> dict[str, NDArray[Any]]:
        """What the outputs hold now."""
        return {
            name: self._device.read(self._places[name] + GUARD, self._sizes[name]).view(kind).reshape(shape)
            for name, (shape, kind) in self._given.outputs.items()
        }


@contextmanager
def on_device(device: Device, given: Arguments, copies: int = 1) -> Iterator[list[Buffers]]:
    """`copies` sets of the same tensors, freed at the end (a device after a fault frees all by itself)."""
    sets = [Buffers(device, given) for _ in range(copies)]
    try:
        for one in sets:
            one.open()
        yield sets
    except DeviceFault:
        raise
    except BaseException:
        _close(sets)
        raise
    _close(sets)


def _close(sets: list[Buffers]) -> None:
    for one in sets:
        one.close()


def _room(size: int) -> int:
    return GUARD + -(-size // GUARD) * GUARD + GUARD


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)
