"""Tensors, launches and sizes of the int4 products: `gemv` for up to eight rows of x, `gemm` for many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.int4_matmul.naive import product
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

BLOCKS = (32, 128)
GEMV_ROWS = 8
"""Rows of x that one pass over the weights serves."""

ROUNDING = {"float16": 1e-3, "bfloat16": 8e-3}
_X = Tensor(name="x", dtype="activation", shape=("T", "K"))

# (K, N): 0.8B and 2B (gate and up, down), 9B (gate and up), the output head of 2B.
_MATRICES = ((1024, 7168), (2048, 12288), (6144, 2048), (4096, 24576), (2048, 248320))


def block_variants(zeros: bool) -> tuple[Variant, ...]:
    """16-bit activations of both kinds with blocks of both sizes."""
    return tuple(
        Variant(
            name=f"{activation}-{block}",
            activation=activation,
            macros={"BLOCK": str(block), "ZEROS": str(int(zeros))},
        )
        for activation in ROUNDING
        for block in BLOCKS
    )


def stored_tensors(rows: tuple[str | int, ...], blocks: str, zeros: bool) -> tuple[Tensor, ...]:
    """What a stored matrix consists of: `rows` with `blocks` blocks each."""
    tensors = (
        Tensor(name="values", dtype="uint8", shape=(*rows, blocks, "BYTES")),
        Tensor(name="scales", dtype="float16", shape=(*rows, blocks)),
    )
    return (*tensors, Tensor(name="zeros", dtype="uint8", shape=(*rows, "ZB"))) if zeros else tensors


def draw_stored(
    rng: np.random.Generator, rows: tuple[int, ...], width: int, variant: Variant
) -> dict[str, NDArray[Any]]:
    """A believable stored matrix [*rows, width]: products of numbers around 1 stay around 1."""
    block = int(variant.macros["BLOCK"])
    blocks = -(-width // block)
    # Scales have either sign: the packer gives the larger end of a block the integer without a counterpart.
    scales = rng.uniform(0.5, 1.5, (*rows, blocks)) * rng.choice([-1.0, 1.0], (*rows, blocks))
    drawn: dict[str, NDArray[Any]] = {
        "values": rng.integers(0, 256, (*rows, blocks, block // 2), np.uint8),
        "scales": (scales / (5 * width**0.5)).astype(np.float16),
    }
    if int(variant.macros["ZEROS"]):
        drawn["zeros"] = rng.integers(0, 256, (*rows, (blocks + 1) // 2), np.uint8)
    return drawn


def stored_bytes(rows: int, width: int, variant: Variant) -> int:
    """What `rows` rows of `width` take in memory."""
    block = int(variant.macros["BLOCK"])
    blocks = -(-width // block)
    zeros = (blocks + 1) // 2 if int(variant.macros["ZEROS"]) else 0
    return rows * (blocks * (block // 2 + 2) + zeros)


def _gemv_launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
    """A block has 16 outputs; its eight warps share their numbers."""
    tokens, outputs = sizes["T"], sizes["N"]
    grid = (arithmetic.cdiv(tokens, GEMV_ROWS), arithmetic.cdiv(outputs, 16), 1)
    return Launch(grid=grid, block=(256, 1, 1), scalars=(tokens, outputs, sizes["K"]))


def _gemm_launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
    """A block has 128 outputs of 64 rows."""
    tokens, outputs = sizes["T"], sizes["N"]
    grid = (arithmetic.cdiv(tokens, 64), arithmetic.cdiv(outputs, 128), 1)
    return Launch(grid=grid, block=(128, 1, 1), scalars=(tokens, outputs, sizes["K"]))


def _naive(inputs: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, NDArray[np.float32]]:
    return product(inputs)


def _draw(rng: np.random.Generator, sizes: Mapping[str, int], variant: Variant) -> Case:
    tokens, width, outputs = sizes["T"], sizes["K"], sizes["N"]
    x = rng.standard_normal((tokens, width), np.float32).astype(numpy_dtype(_X, variant))
    return Case(
        name=f"T={tokens} K={width} N={outputs}",
        sizes=sizes,
        inputs={"x": x, **draw_stored(rng, (outputs,), width, variant)},
        tolerance=ROUNDING[variant.activation],
    )


def _bytes_moved(sizes: Mapping[str, int], variant: Variant) -> int:
    """The weights once, x once, y once."""
    tokens, width, outputs = sizes["T"], sizes["K"], sizes["N"]
    return stored_bytes(outputs, width, variant) + 2 * tokens * (width + outputs)


def _flops(sizes: Mapping[str, int], variant: Variant) -> int:
    return 2 * sizes["T"] * sizes["K"] * sizes["N"]


def _kernel(name: str, zeros: bool) -> Kernel:
    decode = name == "gemv"
    tokens = (1, GEMV_ROWS) if decode else (364, 1024)
    return Kernel(
        name=f"{name}_int4" + ("_zeros" if zeros else ""),
        source=Path(__file__).with_name(f"{name}.cu"),
        inputs=(_X, *stored_tensors(("N",), "KB", zeros)),
        outputs=(Tensor(name="y", dtype="activation", shape=("T", "N")),),
        scalars=("rows", "outputs", "width"),
        variants=block_variants(zeros),
        launch=_gemv_launch if decode else _gemm_launch,
        naive=_naive,
        draw=_draw,
        bytes_moved=_bytes_moved,
        flops=_flops,
        sizes=tuple(
            {"T": count, "K": width, "N": outputs}
            for width, outputs in (_MATRICES if decode else _MATRICES[:-1])
            for count in tokens
        ),
        decode=decode,
    )


GEMV, GEMV_ZEROS = (_kernel("gemv", zeros) for zeros in (False, True))
GEMM, GEMM_ZEROS = (_kernel("gemm", zeros) for zeros in (False, True))
OPERATOR = Operator(name="int4_matmul", kernels=(GEMV, GEMV_ZEROS, GEMM, GEMM_ZEROS))
