"""A kernel run on the CPU and held against its naive reference, as the tests of every operator do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lineside.plugins.host.build import Mode, NoCompiler, compiler
from lineside.plugins.host.run import run
from lineside.plugins.operator import Case, Kernel, Variant

Arrays = Mapping[str, NDArray[Any]]


def need_compiler() -> None:
    """Skips where there is no g++."""
    try:
        compiler()
    except NoCompiler as missing:
        pytest.skip(str(missing))


def drawn(kernel: Kernel, variant: Variant, seed: int = 0, **sizes: int) -> Case:
    """The kernel's own believable inputs."""
    return kernel.draw(np.random.default_rng(seed), sizes, variant)


def agree(
    kernel: Kernel, variant: Variant, case: Case, *, mode: Mode = Mode.PLAIN, order: int = 0
) -> dict[str, NDArray[Any]]:
    """Runs the case and asserts that every output is the reference's; returns the outputs.

    Outputs start as NaN (integers as −1), so what was not written is seen.
    """
    found = run(kernel, variant, case.inputs, mode=mode, order=order)
    for name, want in kernel.naive(case.inputs, variant).items():
        assert_close(found[name], want, case.tolerance, f"{kernel.name} ({variant.name}) {case.name}: {name}")
    return found


def assert_close(found: NDArray[Any], want: NDArray[Any], tolerance: float, what: str) -> None:
    """Asserts the same shape, and an error of at most `tolerance` of the largest magnitude."""
    assert found.shape == want.shape, what
    largest = float(np.abs(want).max(initial=0.0))
    off = float(np.abs(found.astype(np.float32) - want).max(initial=0.0))
    assert off <= tolerance * largest, f"{what} is off by {off / (largest or 1):.2e}, more than {tolerance}"


def same_in_any_order(kernel: Kernel, variant: Variant, case: Case) -> None:
    """Asserts the same bits whichever way emulated threads and blocks take turns."""
    forwards, *others = (run(kernel, variant, case.inputs, order=order) for order in (0, 1, 7))
    for other in others:
        for name, array in forwards.items():
            assert array.tobytes() == other[name].tobytes(), f"{kernel.name}: {name} hangs on the order"
