"""The hardware's edge: memory, one stream, captured graphs and compiled plans on one device.

Everything above is ours and is tested; this is CUDA with TensorRT, and in the tests a stand-in that
keeps the same rules. The rules: work is queued and happens at any time until `synchronise` returns, so
that what it reads must not change and what it writes must not be read before; a captured graph does the same
work on the same addresses again, so that these must stay; memory may be given back only when no queued work
and no graph that will run uses it. Knows no decoder, state or question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Address = int
ALIGNMENT = 256
"""Every block begins at a multiple of this, as CUDA's allocations do and TensorRT asks for."""


@dataclass(frozen=True, slots=True)
class PlanTensor:
    """An input or output of a plan. `shape`: −1 where it is not fixed.

    `dtype`: a NumPy name, or that of a type NumPy has not (`int4`, `float8e4m3`); `bits`: of one value.
    """

    name: str
    dtype: str
    bits: int
    shape: tuple[int, ...]
    is_input: bool

    def size_bytes(self, shape: Sequence[int]) -> int:
        """Bytes of this tensor in a shape."""
        return -(-int(np.prod(shape, dtype=np.int64)) * self.bits // 8)


@dataclass(frozen=True, slots=True)
class Range:
    """The least and greatest shape of an input in one profile."""

    least: tuple[int, ...]
    most: tuple[int, ...]

    def admits(self, shape: Sequence[int]) -> bool:
        """Whether a shape lies within."""
        return len(shape) == len(self.least) and all(
            low <= size <= high for low, size, high in zip(self.least, shape, self.most, strict=True)
        )


class Staging(Protocol):
    """Page-locked host memory, which the device copies from and to without the processor."""

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """The memory, [size]; valid until `free`."""
        ...

    def free(self) -> None: ...


class Graph(Protocol):
    """Captured work."""

    def launch(self) -> None:
        """Queues it all again."""
        ...

    def free(self) -> None: ...


class Execution(Protocol):
    """One use of a plan in one profile: shapes and addresses, then `enqueue` as often as wanted."""

    def shape(self, name: str, shape: Sequence[int]) -> None:
        """Sets an input's shape."""
        ...

    def bind(self, name: str, address: Address) -> None:
        """Says where an input or output is."""
        ...

    def enqueue(self) -> None:
        """Queues one run. Every input needs a shape, everything an address."""
        ...

    def free(self) -> None: ...


class Plan(Protocol):
    """A compiled graph on the device."""

    @property
    def tensors(self) -> Mapping[str, PlanTensor]: ...

    @property
    def profiles(self) -> Sequence[Mapping[str, Range]]:
        """By profile, the range of each input's shape."""
        ...

    @property
    def scratch_bytes(self) -> int:
        """Memory that a run needs for itself. Runs that never overlap may share it."""
        ...

    def execution(self, profile: int, scratch: Address) -> Execution:
        """A use of its own. A captured graph needs one that is never given other shapes."""
        ...

    def free(self) -> None: ...


class Device(Protocol):
    """One device with one stream; not for several threads. Raises DeviceFault when it fails."""

    @property
    def name(self) -> str: ...

    def free_bytes(self) -> int:
        """Memory that can still be allocated."""
        ...

    def allocate(self, size: int) -> Address:
        """Memory with no particular content.

        Raises:
            NotEnoughMemory: there is not so much.
        """
        ...

    def free(self, address: Address) -> None:
        """Gives memory back; no queued work may use it."""
        ...

    def staging(self, size: int) -> Staging: ...

    def upload(self, target: Address, source: NDArray[Any]) -> None:
        """Queues a copy from staging (a contiguous part of it) to the device."""
        ...

    def download(self, target: NDArray[Any], source: Address) -> None:
        """Queues a copy to staging."""
        ...

    def copy(self, target: Address, source: Address, size: int) -> None:
        """Queues a copy within the device; the two do not overlap."""
        ...

    def copy_rows(
        self, target: Address, target_pitch: int, source: Address, source_pitch: int, width: int, rows: int
    ) -> None:
        """Queues a copy of `rows` pieces of `width` bytes, which lie a pitch apart."""
        ...

    def clear(self, target: Address, size: int) -> None:
        """Queues filling with zeros."""
        ...

    def synchronise(self) -> None:
        """Waits until all queued work is done."""
        ...

    def capture(self) -> AbstractContextManager[Captured]:
        """Within it, work is written down instead of done. Nothing may be allocated, freed or waited for."""
        ...

    def load(self, plan: bytes) -> Plan:
        """
        Raises:
            IncompatibleBundle: made by another version or for another chip.
        """
        ...

    def close(self) -> None:
        """Ends all use of the device."""
        ...


class Captured(Protocol):
    """What a capture gives."""

    @property
    def graph(self) -> Graph:
        """The work, once the capture has ended."""
        ...
