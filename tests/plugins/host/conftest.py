"""Kernels of these tests: a source of this folder, with a launch that a test may choose freely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.plugins.operator import Arithmetic, Case, Kernel, Launch, Tensor, Variant


def variant(activation: str = "float32", **macros: str) -> Variant:
    """One compilation of a kernel."""
    return Variant(name=activation, activation=activation, macros=macros)


def kernel(
    name: str,
    inputs: Mapping[str, tuple[str, tuple[str | int, ...]]],
    outputs: Mapping[str, tuple[str, tuple[str | int, ...]]],
    *,
    grid: tuple[int, int, int] = (1, 1, 1),
    block: tuple[int, int, int] = (32, 1, 1),
    shared_bytes: int = 0,
    scalars: Mapping[str, int] | None = None,
    source: Path | None = None,
) -> Kernel:
    """`name`.cu of this folder; tensors are given as (dtype, shape) by name."""
    numbers = scalars or {}

    def launch(sizes: Mapping[str, Any], arithmetic: Arithmetic, chosen: Variant) -> Launch:
        return Launch(grid=grid, block=block, shared_bytes=shared_bytes, scalars=tuple(numbers.values()))

    def nothing(rng: np.random.Generator, sizes: Mapping[str, int], chosen: Variant) -> Case:
        raise NotImplementedError

    return Kernel(
        name=name,
        source=source or Path(__file__).with_name(f"{name}.cu"),
        inputs=tuple(Tensor(name=n, dtype=dtype, shape=shape) for n, (dtype, shape) in inputs.items()),
        outputs=tuple(Tensor(name=n, dtype=dtype, shape=shape) for n, (dtype, shape) in outputs.items()),
        scalars=tuple(numbers),
        variants=(variant(),),
        launch=launch,
        naive=lambda inputs, chosen: {},
        draw=nothing,
        bytes_moved=lambda sizes, chosen: 0,
        flops=lambda sizes, chosen: 0,
        sizes=(),
        decode=False,
    )


@pytest.fixture(name="kernel")
def kernel_fixture() -> Callable[..., Kernel]:
    """`kernel`, above."""
    return kernel


@pytest.fixture(name="variant")
def variant_fixture() -> Callable[..., Variant]:
    """`variant`, above."""
    return variant
