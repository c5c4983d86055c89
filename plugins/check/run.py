"""Goes through every kernel on one device: compile, load, compare, time; one row a case.

A kernel that takes the device down fails alone: the device is opened anew for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lineside.plugins.check.compare import compare
from lineside.plugins.check.device import Device, DeviceFacts, DeviceFault
from lineside.plugins.check.speed import Speed, copy_bandwidth, measure
from lineside.plugins.operator import Kernel, Variant
from lineside.plugins.ptx.compile import NEWEST_PTX, Compiled, compile_ptx
from lineside.plugins.ptx.entry import faults

COMPARED_BYTES, COMPARED_FLOPS = 96 << 20, 16e9
"""Cases beyond either are timed only: the naive reference would take minutes, or too much memory."""
RAGGED_TOKENS = 77
"""A length that is no multiple of any tile's."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one kernel's variant did on one case."""

    kernel: str
    variant: str
    case: str
    decode: bool
    target: str
    tolerance: float | None = None
    error: float | None = None
    """None where it was timed only."""
    speed: Speed | None = None
    """None where it was compared only, or went wrong before."""
    registers: int | None = None
    local: int | None = None
    """Bytes a thread that the device's own compiler put into memory."""
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The device as found, and the bandwidth it really has."""

    facts: DeviceFacts
    bytes_s: float


class Checker:
    """Holds the device, and what is the same for every kernel."""

    def __init__(
        self, open_device: Callable[[], Device], *, seed: int, cache: Path | None, timed: bool = True
    ) -> None:
        self._open = open_device
        self._seed = seed
        self._cache = cache
        self._timed = timed
        self._device = open_device()

    def close(self) -> None:
        """Gives the device back."""
        self._device.close()

    def bench(self) -> Bench:
        """Measures the device itself. Raises DeviceFault."""
        return Bench(facts=self._device.facts, bytes_s=copy_bandwidth(self._device))

    def rows(self, kernels: Iterable[Kernel], bench: Bench) -> Iterator[Row]:
        """A row for every case of every variant, as soon as it is known."""
        for kernel in kernels:
            for variant in kernel.variants:
                for sizes, compared in cases(kernel, variant):
                    yield self._row(kernel, variant, sizes, compared, bench)

    def _row(
        self, kernel: Kernel, variant: Variant, sizes: Mapping[str, int], compared: bool, bench: Bench
    ) -> Row:
        row = Row(
            kernel=kernel.name,
            variant=variant.name,
            case=" ".join(f"{name}={size}" for name, size in sizes.items()),
            decode=kernel.decode,
            target=bench.facts.target,
        )
        compiled = compile_ptx(kernel, variant, bench.facts.target, self._cache)
        try:
            return self._on_device(row, compiled, sizes, compared, bench)
        except DeviceFault as fault:
            self._device.close()
            self._device = self._open()
            return replace(row, problems=(str(fault),))

    def _on_device(
        self, row: Row, compiled: Compiled, sizes: Mapping[str, int], compared: bool, bench: Bench
    ) -> Row:
        kernel, variant = compiled.kernel, compiled.variant
        problems: list[str] = faults(kernel, compiled.target, compiled.ptx, NEWEST_PTX)
        if problems:
            return replace(row, problems=tuple(problems))
        loaded = self._device.load(compiled)
        case = kernel.draw(np.random.default_rng(self._seed), sizes, variant)
        row = replace(
            row, case=case.name, tolerance=case.tolerance, registers=loaded.registers, local=loaded.local
        )
        if kernel.decode and loaded.local:
            problems = [f"a decode kernel with {loaded.local} bytes of registers in memory on this device"]
        if compared:
            comparison = compare(self._device, loaded, case)
            row = replace(row, error=comparison.error)
            problems += comparison.faults
        if self._timed and sizes in kernel.sizes:
            row = replace(row, speed=measure(self._device, loaded, case, bench.bytes_s))
        return replace(row, problems=tuple(problems))


def cases(kernel: Kernel, variant: Variant) -> Iterator[tuple[Mapping[str, int], bool]]:
    """The sizes to go through, and whether the reference is affordable for each; the smallest always is."""
    ordered = sorted(kernel.sizes, key=lambda sizes: kernel.bytes_moved(sizes, variant))
    for index, sizes in enumerate(ordered):
        small = kernel.bytes_moved(sizes, variant) <= COMPARED_BYTES
        yield sizes, index == 0 or (small and kernel.flops(sizes, variant) <= COMPARED_FLOPS)
    if ordered and any("T" in tensor.shape for tensor in kernel.inputs):
        yield {**ordered[0], "T": RAGGED_TOKENS}, True
