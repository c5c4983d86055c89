"""What the check asks of a GPU: the one edge behind which hardware lies. `driver.py` is the real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.operator import Launch
from lineside.plugins.ptx.compile import TARGETS, Compiled


class NoDevice(Exception):
    """There is no GPU, no driver, or not the package that speaks to it: nothing can be settled here."""


class DeviceFault(Exception):
    """The GPU or its driver refused, or a kernel did what no kernel may; the device must be opened anew."""


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """A GPU as its driver describes it; sizes in bytes."""

    name: str
    capability: tuple[int, int]
    cuda: tuple[int, int]
    """The newest CUDA its driver takes."""
    multiprocessors: int
    memory: int
    cache: int
    """Of its level-2 cache."""
    stated_bytes_s: float | None
    """Bandwidth by memory clock and bus width; None where the driver does not give them."""

    @property
    def target(self) -> str:
        """What to compile for: the newest of our targets that this GPU takes. Raises NoDevice."""
        taken = [target for target in TARGETS if capability(target) <= self.capability]
        if not taken:
            raise NoDevice(
                f"{self.name} has compute capability {self.capability[0]}.{self.capability[1]}; "
                f"the kernels need {TARGETS[0].removeprefix('sm_')[0]}.0 or newer"
            )
        return max(taken, key=capability)


def capability(target: str) -> tuple[int, int]:
    """`sm_87` as (8, 7)."""
    digits = target.removeprefix("sm_")
    return int(digits[:-1]), int(digits[-1])


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A kernel on the device, and what the device's own compiler spent on it: registers; bytes."""

    compiled: Compiled
    handle: Any
    registers: int
    local: int
    shared: int


@dataclass(frozen=True, kw_only=True)
class Call:
    """One launch with everything it takes: addresses of inputs, int32 scalars, addresses of outputs."""

    loaded: Loaded
    launch: Launch
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Device(Protocol):
    """A GPU. Every method may raise DeviceFault; after that only `close` may be called."""

    facts: DeviceFacts

    def load(self, compiled: Compiled) -> Loaded:
        """Compiles PTX for this very device."""
        ...

    def allocate(self, size: int) -> int:
        """The address of `size` bytes, a multiple of 256."""
        ...

    def free(self, address: int) -> None: ...

    def available(self) -> int:
        """Bytes that may still be allocated."""
        ...

    def write(self, address: int, content: NDArray[np.uint8]) -> None: ...

    def read(self, address: int, size: int) -> NDArray[np.uint8]: ...

    def fill(self, address: int, byte: int, size: int) -> None: ...

    def run(self, call: Call) -> None:
        """One launch, and waits for its end."""
        ...

    def time(self, calls: Sequence[Call], repeats: int) -> list[float]:
        """Seconds of each of `repeats` passes over all `calls`, each one graph; one more goes first."""
        ...

    def time_copy(self, size: int, repeats: int) -> list[float]:
        """Seconds of each of `repeats` copies of `size` bytes from memory to memory; one more goes first."""
        ...

    def close(self) -> None:
        """Gives everything back, also after a fault."""
        ...
