"""How TensorRT multiplies by weights in each form: half precision, and 4 or 8 bits that stay packed.

A block-quantised weight is DequantizeLinear before a MatMul, which compilers fuse into one kernel. Knows
forms and basic operators; does not know the model or where weights come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from lineside.engines.graph.builder import ElementType
from lineside.engines.graph.fed import Blocks, Dense, FedGraph
from lineside.engines.quantise.blocks import Packed, nibbles, unpack

Rounding = Literal["stored", "fp8", "nvfp4"]
"""What becomes of a product's weights: as the bundle stores them, or rounded anew to what some chips have."""

NVFP4_BLOCK = 16
_BAND = 2_000_000  # values at a time
_FP8_MOST, _FP4_MOST = 448.0, 6.0


def product(
    g: FedGraph, x: str, given: Dense | Blocks, name: str, kind: ElementType, rounding: Rounding
) -> str:
    """x [.., in] float32 by a weight [out, in], multiplied as `kind`: float32 [.., out]. `name`: unique."""
    narrow = g.cast(x, kind) if kind != "float32" else x
    rows, width = given.shape
    if isinstance(given, Blocks) and stays_packed(given):
        y = g.op("MatMul", narrow, _int4(g, given, name, kind))
        if given.form.zero_points:
            y = g.op("Add", y, _offsets(g, x, given, name, kind))
    elif rounding == "fp8":
        y = g.op("MatMul", narrow, _fp8(g, given, name, kind))
    elif rounding == "nvfp4" and not width % NVFP4_BLOCK and not rows % 2:
        y = g.op("MatMul", narrow, _nvfp4(g, given, name, kind))
    else:
        assert kind in ("float32", "float16")
        w = g.feed(name, kind, (width, rows), lambda: _columns(given, kind))
        y = g.op("MatMul", narrow, w)
    return g.cast(y, "float32") if kind != "float32" else y


def stays_packed(given: Blocks) -> bool:
    """Whether a compiler can multiply by 4-bit blocks as they are: whole blocks, an even number of rows."""
    rows, width = given.shape
    return given.form.bits == 4 and not width % given.form.block and not rows % 2


def whole(given: Dense | Blocks) -> NDArray[np.float32]:
    """Everything of a weight, [out, in]: for small ones and experts."""
    rows, width = given.shape
    if isinstance(given, Dense):
        held = np.asarray(given.rows(0, width if given.turned else rows), np.float32)
        return held.T if given.turned else held
    return unpack(given.read(0, given.form.blocks(width)), given.form, width)


def _columns(given: Dense | Blocks, kind: str) -> Iterator[NDArray[Any]]:
    """[in, out] in bands, as `kind`."""
    rows, width = given.shape
    if isinstance(given, Blocks):
        block = given.form.block
        step = max(1, _BAND // (rows * block))
        for start in range(0, given.form.blocks(width), step):
            stop = min(start + step, given.form.blocks(width))
            least = min(stop * block, width) - start * block
            yield np.ascontiguousarray(unpack(given.read(start, stop), given.form, least).T).astype(kind)
        return
    if not given.turned:
        yield np.ascontiguousarray(given.rows(0, rows).T).astype(kind)
        return
    step = max(1, _BAND // rows)
    for start in range(0, width, step):
        yield given.rows(start, min(start + step, width)).astype(kind, copy=False)


def _int4(g: FedGraph, given: Blocks, name: str, kind: ElementType) -> str:
    """DequantizeLinear of [in, out] 4-bit numbers in blocks along `in`."""
    rows, width = given.shape
    form = given.form
    values = g.feed(name, "int4", (width, rows), lambda: (_signed(one, rows) for one in _bands(given)))
    scales = g.feed(
        f"{name}.scales",
        _scale_kind(kind),
        (form.blocks(width), rows),
        lambda: (np.ascontiguousarray(one.scales.T).astype(kind) for one in _bands(given)),
    )
    return g.op("DequantizeLinear", values, scales, axis=0, block_size=form.block)


def _offsets(g: FedGraph, x: str, given: Blocks, name: str, kind: ElementType) -> str:
    """What zero points add: compilers know symmetric blocks only.

    Σ (q − z)·s·x = Σ (q − 8)·s·x + (8 − z)·s·Σ x over a block; the second is a product
    with the blocks' means.
    """
    rows, width = given.shape
    form = given.form
    blocks = form.blocks(width)

    def chunks() -> Iterator[NDArray[Any]]:
        for one in _bands(given):
            assert one.zeros is not None
            zeros = nibbles(one.zeros)[:, : one.scales.shape[1]].astype(np.float32)
            yield np.ascontiguousarray(((8 - zeros) * one.scales * form.block).T).astype(kind)

    by = g.feed(f"{name}.offsets", _scale_kind(kind), (blocks, rows), chunks)
    means = g.op("ReduceMean", g.reshape(x, 0, 0, blocks, form.block), g.integers(-1), keepdims=0)
    return g.op("MatMul", g.cast(means, kind) if kind != "float32" else means, by)


def _fp8(g: FedGraph, given: Dense | Blocks, name: str, kind: ElementType) -> str:
    """Eight-bit floats with one scale for the whole matrix."""
    rows, width = given.shape
    most = max((float(np.abs(one).max(initial=0)) for one in _columns(given, "float32")), default=0.0)
    scale = most / _FP8_MOST or 1.0
    values = g.feed(
        name,
        "float8e4m3",
        (width, rows),
        lambda: ((one / scale).astype(ml_dtypes.float8_e4m3fn) for one in _columns(given, "float32")),
    )
    return g.op("DequantizeLinear", values, g.constant(np.array(scale, kind)))


def _nvfp4(g: FedGraph, given: Dense | Blocks, name: str, kind: ElementType) -> str:
    """Four-bit floats in blocks of 16 whose scales are eight-bit floats with a scale of their own."""
    rows, width = given.shape
    most = max((float(np.abs(one).max(initial=0)) for one in _columns(given, "float32")), default=0.0)
    outer = most / (_FP8_MOST * _FP4_MOST) or 1.0

    def blocks() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        everything = whole(given).T
        for start in range(0, width, NVFP4_BLOCK * 64):
            cut = everything[start : start + NVFP4_BLOCK * 64].reshape(-1, NVFP4_BLOCK, rows)
            scales = (np.abs(cut).max(axis=1) / (_FP4_MOST * outer)).astype(ml_dtypes.float8_e4m3fn)
            steps = scales.astype(np.float32)[:, None] * np.float32(outer)
            values = np.divide(cut, steps, out=np.zeros_like(cut), where=steps > 0)
            yield values.reshape(-1, rows).astype(ml_dtypes.float4_e2m1fn), scales

    values = g.feed(
        name, "float4e2m1", (width, rows), lambda: (_pairs(v.view(np.uint8)) for v, _ in blocks())
    )
    scales = g.feed(
        f"{name}.scales", "float8e4m3", (width // NVFP4_BLOCK, rows), lambda: (s for _, s in blocks())
    )
    fine = g.op("DequantizeLinear", scales, g.constant(np.array(outer, kind)))
    return g.op("DequantizeLinear", values, fine, axis=0, block_size=NVFP4_BLOCK)


def _bands(given: Blocks) -> Iterator[Packed]:
    """A weight's blocks along `in`, some megabytes at a time; an even number, for paired zero points."""
    rows, width = given.shape
    step = 2 * max(1, _BAND // (2 * rows * given.form.block))
    for start in range(0, given.form.blocks(width), step):
        yield given.read(start, min(start + step, given.form.blocks(width)))


def _signed(packed: Packed, rows: int) -> NDArray[np.uint8]:
    """[out, blocks, bytes] of 0 … 15 around 8 → [in, out] of −8 … 7, two in a byte along `out`."""
    values = nibbles(packed.values).reshape(rows, -1).T
    return _pairs(
        np.ascontiguousarray(values) ^ np.uint8(8)
    )  # in two's complement q − 8 is q with its top bit turned


def _pairs(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (values[:, 0::2] & np.uint8(15)) | (values[:, 1::2] << np.uint8(4))


def _scale_kind(kind: ElementType) -> Literal["float32", "float16"]:
    return "float16" if kind == "float16" else "float32"
