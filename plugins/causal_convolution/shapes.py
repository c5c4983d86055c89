"""Tensors, launch and sizes of the causal convolution."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.causal_convolution.naive import causal_convolution
from lineside.plugins.operator import (
    Arithmetic,
    Case,
    Dimension,
    Kernel,
    Launch,
    Operator,
    Tensor,
    Variant,
    numpy_dtype,
)

WIDTH = 4
THREADS = 128
TOKENS = 16
"""Tokens that a thread goes through: the three before them are read again from the cache."""

_ROUNDING = {"float16": 1e-3, "bfloat16": 8e-3}
_X = Tensor(name="x", dtype="activation", shape=("B", "T", "C"))
_STATE = ("B", WIDTH - 1, "C")


def _variant(activation: str) -> Variant:
    macros = {"KERNEL": str(WIDTH), "THREADS": str(THREADS), "TOKENS": str(TOKENS)}
    return Variant(name=activation, activation=activation, macros=macros)


def _launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
    """A thread has two channels of `TOKENS` tokens."""
    tokens, channels = sizes["T"], sizes["C"]
    grid = (arithmetic.cdiv(channels, 2 * THREADS), arithmetic.cdiv(tokens, TOKENS), sizes["B"])
    return Launch(grid=grid, block=(THREADS, 1, 1), scalars=(tokens, channels))


def _naive(inputs: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, NDArray[np.float32]]:
    return causal_convolution(inputs)


def _draw(rng: np.random.Generator, sizes: Mapping[str, int], variant: Variant) -> Case:
    batch, tokens, channels = sizes["B"], sizes["T"], sizes["C"]
    kind = numpy_dtype(_X, variant)

    def numbers(*shape: int) -> NDArray[Any]:
        return rng.standard_normal(shape, np.float32).astype(kind)

    return Case(
        name=f"B={batch} T={tokens} C={channels}",
        sizes=sizes,
        inputs={
            "x": numbers(batch, tokens, channels),
            "weight": numbers(channels, 1, WIDTH),
            "state": numbers(batch, WIDTH - 1, channels),
        },
        tolerance=_ROUNDING[variant.activation],
    )


def _bytes_moved(sizes: Mapping[str, int], variant: Variant) -> int:
    """x once in, y once out, both states, the weights."""
    batch, tokens, channels = sizes["B"], sizes["T"], sizes["C"]
    return 2 * channels * (2 * batch * (tokens + WIDTH - 1) + WIDTH)


def _flops(sizes: Mapping[str, int], variant: Variant) -> int:
    """The taps, and four for SiLU."""
    return sizes["B"] * sizes["T"] * sizes["C"] * (2 * WIDTH + 4)


KERNEL = Kernel(
    name="causal_convolution",
    source=Path(__file__).with_name("causal_convolution.cu"),
    inputs=(
        _X,
        Tensor(name="weight", dtype="activation", shape=("C", 1, WIDTH)),
        Tensor(name="state", dtype="activation", shape=_STATE),
    ),
    outputs=(
        Tensor(name="y", dtype="activation", shape=("B", "T", "C")),
        Tensor(name="present", dtype="activation", shape=_STATE),
    ),
    scalars=("tokens", "channels"),
    variants=tuple(_variant(activation) for activation in _ROUNDING),
    launch=_launch,
    naive=_naive,
    draw=_draw,
    bytes_moved=_bytes_moved,
    flops=_flops,
    # Channels of the demo engine, of 0.8B and 2B, and of 4B to 35B-A3B.
    sizes=tuple(
        {"B": 1, "T": tokens, "C": channels} for channels in (256, 6144, 8192) for tokens in (1, 364, 1024)
    ),
    decode=True,
)
OPERATOR = Operator(name="causal_convolution", kernels=(KERNEL,))
