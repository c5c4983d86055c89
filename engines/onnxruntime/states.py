"""A decoder's past: caches and recurrent states, in buffers that stay where they are.

Sizes come from the graph's own inputs. Knows arrays; does not know prompts or sessions beyond their inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lineside.engines.errors import IncompatibleBundle

Floats = NDArray[np.float32]
_ROWS, _CAPACITY = "B", "S"


class GraphInput(Protocol):
    """What a session says of one of its inputs."""

    name: str
    shape: Sequence[int | str]
    type: str


@dataclass(frozen=True, slots=True)
class StateLayout:
    """Shapes of a decoder's past: `caches` grow with the sequence ([B, heads, S, dim]), `fixed` do not."""

    caches: dict[str, tuple[int, int]]
    fixed: dict[str, tuple[int, ...]]

    def fixed_bytes(self) -> int:
        """Bytes a row takes however long the sequence is."""
        return 4 * sum(int(np.prod(shape)) for shape in self.fixed.values())

    def cache_bytes(self) -> int:
        """Bytes a row takes for each token."""
        return 4 * sum(heads * dim for heads, dim in self.caches.values())


def read_layout(inputs: Sequence[GraphInput]) -> StateLayout:
    """The layout of the inputs called `past.…`.

    Raises:
        IncompatibleBundle: a state of another type or shape than the graph contract has.
    """
    caches: dict[str, tuple[int, int]] = {}
    fixed: dict[str, tuple[int, ...]] = {}
    for one in inputs:
        if not one.name.startswith("past."):
            continue
        rows, *rest = one.shape
        if rows != _ROWS or one.type != "tensor(float)":
            raise IncompatibleBundle(f"the decoder's {one.name} is not a float32 state of B rows")
        match rest:
            case [int(heads), str(capacity), int(dim)] if capacity == _CAPACITY:
                caches[one.name] = (heads, dim)
            case _ if all(isinstance(size, int) for size in rest):
                fixed[one.name] = tuple(int(size) for size in rest)
            case _:
                raise IncompatibleBundle(f"the decoder's {one.name} has the shape {list(one.shape)}")
    return StateLayout(caches, fixed)


class States:
    """The past of `rows` sequences, with room for `capacity` tokens each. Starts as the empty past."""

    def __init__(self, layout: StateLayout, rows: int, capacity: int) -> None:
        self.layout = layout
        self.rows = rows
        self.capacity = capacity
        # Zeroed by the operating system: cache memory that no token reaches is never touched.
        self.caches: dict[str, Floats] = {
            name: np.zeros((rows, heads, capacity, dim), np.float32)
            for name, (heads, dim) in layout.caches.items()
        }
        self.fixed: dict[str, Floats] = {
            name: np.zeros((rows, *shape), np.float32) for name, shape in layout.fixed.items()
        }

    def arrays(self) -> dict[str, Floats]:
        """Every state by its input's name."""
        return {**self.caches, **self.fixed}

    def begin(self) -> None:
        """Goes back to the empty past. Caches keep old values, which `past_length` hides."""
        for array in self.fixed.values():
            array.fill(0.0)

    def repeat(self, source: States, length: int) -> None:
        """Makes every row the single row of `source`, of which the first `length` tokens count."""
        for name, array in self.caches.items():
            array[:, :, :length] = source.caches[name][:, :, :length]
        for name, array in self.fixed.items():
            array[:] = source.fixed[name]

    def copy_caches(self, start: int, end: int) -> CacheRun:
        """What tokens `start` to `end` of a single sequence left in the caches."""
        return CacheRun({name: array[:, :, start:end].copy() for name, array in self.caches.items()})

    def copy_fixed(self) -> FixedCopy:
        """The states of a single sequence that do not grow, as they are now."""
        return FixedCopy({name: array.copy() for name, array in self.fixed.items()})

    def put_caches(self, run: CacheRun, start: int) -> None:
        """Puts a run of tokens back, the first of them as token `start`."""
        for name, array in run.arrays.items():
            self.caches[name][:, :, start : start + array.shape[2]] = array

    def put_fixed(self, copy: FixedCopy) -> None:
        """Puts the states that do not grow back."""
        for name, array in copy.arrays.items():
            np.copyto(self.fixed[name], array)


@dataclass(frozen=True, slots=True)
class CacheRun:
    """A copy of what a run of tokens left in the caches: [1, heads, tokens, dim] each."""

    arrays: dict[str, Floats]

    @property
    def size_bytes(self) -> int:
        """How much memory it holds."""
        return sum(array.nbytes for array in self.arrays.values())

    def split(self, at: int) -> tuple[CacheRun, CacheRun]:
        """Copies of what the first `at` tokens left, and the rest."""
        return (
            CacheRun({name: array[:, :, :at].copy() for name, array in self.arrays.items()}),
            CacheRun({name: array[:, :, at:].copy() for name, array in self.arrays.items()}),
        )


@dataclass(frozen=True, slots=True)
class FixedCopy:
    """A copy of the states that do not grow, after some token."""

    arrays: dict[str, Floats]

    @property
    def size_bytes(self) -> int:
        """How much memory it holds."""
        return sum(array.nbytes for array in self.arrays.values())
