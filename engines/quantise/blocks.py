"""Block quantisation: rows of float32 to small integers with a scale for each block, and back.

The layout is that of ONNX Runtime's MatMulNBits, GatherBlockQuantized and QMoE: a value is
(integer − zero point)·scale; 4-bit integers lie in pairs, the first in the low half of a byte. Knows numbers
only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# How much of a block's span the integers cover: what is cut off at the ends may cost less than finer steps
# win. Tried for 4 bits; with 8 bits the steps are fine enough.
_SPANS = (1.0, 0.94, 0.88, 0.82)
_AT_ONCE = 1 << 16  # values: few enough that all that is computed of them stays in the processor's caches


@dataclass(frozen=True, slots=True)
class BlockForm:
    """`block` neighbours of a row share a scale, and a zero point where there are `zero_points`."""

    bits: Literal[4, 8]
    block: int
    zero_points: bool

    @property
    def label(self) -> str:
        """For people and reports."""
        return f"int{self.bits}/{self.block}" + ("+zero" if self.zero_points else "")

    @property
    def bits_per_weight(self) -> float:
        """What a weight takes in the file, its share of scale and zero point included."""
        return self.bits + (32 + (self.bits if self.zero_points else 0)) / self.block

    def blocks(self, width: int) -> int:
        """Blocks in a row of `width`; the last may be partly empty."""
        return -(-width // self.block)

    def value_bytes(self) -> int:
        """Bytes of one block's integers."""
        return self.block * self.bits // 8

    def zero_bytes(self, width: int) -> int:
        """Bytes of one row's zero points."""
        return -(-self.blocks(width) * self.bits // 8)


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows in blocks: `values` [n, blocks, bytes], `scales` [n, blocks], `zeros` [n, bytes] or None."""

    values: Bytes
    scales: Floats
    zeros: Bytes | None


def pack(rows: Floats, form: BlockForm) -> Packed:
    """Quantises rows [n, width], each block with the span that errs least."""
    count, width = rows.shape
    blocks = form.blocks(width)
    if blocks * form.block != width:
        rows = np.pad(rows, ((0, 0), (0, blocks * form.block - width)))
    cut = rows.reshape(count, blocks, form.block)
    integers, scales, zeros = _best(cut, form)
    values = _pairs(integers) if form.bits == 4 else integers
    packed_zeros = None
    if form.zero_points:
        packed_zeros = _pairs(np.pad(zeros, ((0, 0), (0, blocks % 2)))) if form.bits == 4 else zeros
    return Packed(values, scales, packed_zeros)


def unpack(packed: Packed, form: BlockForm, width: int) -> Floats:
    """The rows that the integers stand for, [n, width]."""
    count, blocks = packed.scales.shape
    integers = nibbles(packed.values) if form.bits == 4 else packed.values
    if packed.zeros is None:
        zeros: Floats = np.full((count, blocks), 1 << (form.bits - 1), np.float32)
    else:
        single = nibbles(packed.zeros)[:, :blocks] if form.bits == 4 else packed.zeros
        zeros = single.astype(np.float32)
    values = (integers.astype(np.float32) - zeros[..., None]) * packed.scales[..., None]
    return values.reshape(count, -1)[:, :width]


def rounded(rows: Floats, form: BlockForm) -> Floats:
    """What is left of rows once they have been through `pack`."""
    return unpack(pack(rows, form), form, rows.shape[1])


def _best(cut: Floats, form: BlockForm) -> tuple[Bytes, Floats, Bytes]:
    """(integers, scales, zero points) of blocks [n, blocks, block], over the spans tried."""
    count, blocks, block = cut.shape
    found = (
        np.empty(cut.shape, np.uint8),
        np.empty((count, blocks), np.float32),
        np.empty((count, blocks), np.uint8),
    )
    rows = max(1, _AT_ONCE // max(blocks * block, 1))
    for start in range(0, count, rows):
        part = slice(start, start + rows)
        _best_of_few(cut[part], form, found[0][part], found[1][part], found[2][part])
    return found


def _best_of_few(cut: Floats, form: BlockForm, integers: Bytes, scales: Floats, zeros: Bytes) -> None:
    """As `_best`, into the arrays given."""
    top, middle = (1 << form.bits) - 1, 1 << (form.bits - 1)
    low, high = cut.min(axis=2), cut.max(axis=2)
    if form.zero_points:
        # Zero stays exact: padding and pruned weights must not become something.
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    widest = np.where(high > -low, high, low)
    least = np.full(low.shape, np.inf, np.float32)
    steps, error = np.empty_like(cut), np.empty_like(cut)
    for span in _SPANS if form.bits == 4 else _SPANS[:1]:
        if form.zero_points:
            scale = (high - low) * np.float32(span / top)
            scale[scale == 0] = 1
            zero = np.clip(np.rint(-low * np.float32(span) / scale), 0, top)
        else:
            # The larger end takes the integer that has no counterpart: one step more than symmetry gives.
            scale = widest * np.float32(-span / middle)
            scale[scale == 0] = 1
            zero = np.full(scale.shape, middle, np.float32)
        # A scale so small that it is none in float32 would divide by nothing.
        scale[np.abs(scale) < np.finfo(np.float32).tiny] = 1
        np.divide(cut, scale[..., None], out=steps)
        steps += zero[..., None]
        np.rint(steps, out=steps)
        np.minimum(np.maximum(steps, 0, out=steps), top, out=steps)
        np.subtract(steps, zero[..., None], out=error)
        error *= scale[..., None]
        error -= cut
        squared = np.einsum("nbk,nbk->nb", error, error)
        better = squared < least if span != _SPANS[0] else np.ones(least.shape, np.bool_)
        np.copyto(least, squared, where=better)
        np.copyto(integers, steps, where=better[..., None], casting="unsafe")
        np.copyto(scales, scale, where=better)
        np.copyto(zeros, zero, where=better, casting="unsafe")


def _pairs(values: Bytes) -> Bytes:
    """Two 4-bit integers in a byte, along the last axis."""
    return values[..., 0::2] | (values[..., 1::2] << np.uint8(4))


def nibbles(packed: Bytes) -> Bytes:
    """The 4-bit integers of packed bytes, along the last axis."""
    values = np.empty((*packed.shape[:-1], packed.shape[-1] * 2), np.uint8)
    values[..., 0::2] = packed & 15
    values[..., 1::2] = packed >> 4
    return values
