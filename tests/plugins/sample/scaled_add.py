"""A small operator to the contract of every other: `sum = a + SCALE * b` over rows, 16-bit and float32.

The tests of what compiles, checks and defines kernels use it where a real operator would only be slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from lineside.plugins.operator import Arithmetic, Case, Dimension, Kernel, Launch, Operator, Tensor, Variant

BLOCK = 128
ROUNDING = {"float16": 1e-3, "bfloat16": 8e-3}


def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
    """A thread a number; the last block is ragged."""
    count = sizes["T"] * sizes["N"]
    return Launch(
        grid=(arithmetic.cdiv(count, BLOCK), 1, 1),
        block=(BLOCK, 1, 1),
        shared_bytes=4 * BLOCK,
        scalars=(count,),
    )


def naive(inputs: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, NDArray[np.float32]]:
    """The formula."""
    scale = float(variant.macros["SCALE"].removesuffix("f"))
    return {"sum": inputs["a"].astype(np.float32) + np.float32(scale) * inputs["b"].astype(np.float32)}


def draw(rng: np.random.Generator, sizes: Mapping[str, int], variant: Variant) -> Case:
    """Ordinary numbers."""
    shape = (sizes["T"], sizes["N"])
    kind: Any = np.float16 if variant.activation == "float16" else ml_dtypes.bfloat16
    return Case(
        name=f"T={sizes['T']} N={sizes['N']}",
        sizes=sizes,
        inputs={
            "a": rng.standard_normal(shape).astype(kind),
            "b": rng.standard_normal(shape, np.float32),
        },
        tolerance=ROUNDING[variant.activation],
    )


KERNEL = Kernel(
    name="scaled_add",
    source=Path(__file__).with_suffix(".cu"),
    inputs=(
        Tensor(name="a", dtype="activation", shape=("T", "N")),
        Tensor(name="b", dtype="float32", shape=("T", "N")),
    ),
    outputs=(Tensor(name="sum", dtype="activation", shape=("T", "N")),),
    scalars=("count",),
    variants=tuple(
        Variant(name=kind, activation=kind, macros={"BLOCK": str(BLOCK), "SCALE": "0.5f"})
        for kind in ROUNDING
    ),
    launch=launch,
    naive=naive,
    draw=draw,
    bytes_moved=lambda sizes, variant: 8 * sizes["T"] * sizes["N"],
    flops=lambda sizes, variant: 2 * sizes["T"] * sizes["N"],
    sizes=({"T": 1, "N": 100}, {"T": 300, "N": 33}),
    decode=True,
)
OPERATOR = Operator(name="scaled_add", kernels=(KERNEL,))
