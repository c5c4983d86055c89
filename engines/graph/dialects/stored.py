"""How ONNX Runtime multiplies by, and looks up, weights stored in each form.

float16 is a matter of the file: a Cast that the runtime folds while loading gives float32, because its CPU
kernels are no faster in float16 and round more. Integers stay integers in memory. Knows ONNX Runtime's
operators; does not know the model or how forms are chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lineside.engines.errors import UnsupportedModel
from lineside.engines.graph.builder import MICROSOFT, GraphBuilder
from lineside.engines.graph.dialects.base import ExpertWeights, Floats, Table
from lineside.engines.graph.matrix import Matrix
from lineside.engines.quantise.blocks import BlockForm, Packed, pack
from lineside.engines.quantise.forms import Form

_INT8_ACTIVATIONS = (
    4  # accuracy_level: inputs are rounded to 8 bits for each block, and multiplied as integers
)


def product(g: GraphBuilder, x: str, weight: Matrix, form: Form, name: str) -> str:
    """x [.., in] by a weight [out, in]."""
    rows, width = weight.shape
    if isinstance(form, BlockForm):
        values, scales, zeros = _packed(g, weight.chunks(), form, name, (rows,), width, flat=False)
        return _block_product(g, x, Table(values, weight.shape, form, scales, zeros))
    kind = np.float16 if form == "float16" else np.float32
    turned = g.weight_from(name, kind, (width, rows), weight.columns(kind))
    return g.op("MatMul", x, g.cast(turned, "float32") if form == "float16" else turned)


def table(g: GraphBuilder, weight: Matrix, form: Form, name: str) -> Table:
    """Stores a table [rows, width] to look up rows of, to multiply by, or both."""
    if isinstance(form, BlockForm):
        rows, width = weight.shape
        values, scales, zeros = _packed(g, weight.chunks(), form, name, (rows,), width, flat=True)
        return Table(values, weight.shape, form, scales, zeros)
    kind = np.float16 if form == "float16" else np.float32
    values = g.weight_from(name, kind, weight.shape, (c.astype(kind, copy=False) for c in weight.chunks()))
    return Table(values, weight.shape, form)


def lookup(g: GraphBuilder, of: Table, ids: str) -> str:
    """Rows of a table, as float32."""
    if isinstance(of.form, BlockForm):
        return g.op(
            "GatherBlockQuantized",
            of.values,
            ids,
            of.scales,
            *((of.zeros,) if of.zeros else ()),
            domain=MICROSOFT,
            bits=of.form.bits,
            block_size=of.form.block,
            gather_axis=0,
            quantize_axis=1,
        )
    found = g.op("Gather", of.values, ids, axis=0)
    return g.cast(found, "float32") if of.form == "float16" else found


def table_product(g: GraphBuilder, x: str, by: Table) -> str:
    """x [B, T, width] by every row of a table: [B, T, rows]."""
    if isinstance(by.form, BlockForm):
        rows, width = by.shape
        cut = g.alias(by.values, (rows, by.form.blocks(width), by.form.value_bytes()))
        return _block_product(g, x, replace(by, values=cut))
    # Gemm can read the table as it is stored: one copy in the file and in memory.
    values = g.cast(by.values, "float32") if by.form == "float16" else by.values
    flat = g.op("Gemm", g.reshape(x, -1, by.shape[1]), values, transB=1)
    shape = g.op("Concat", g.op("Shape", x, end=2), g.integers(-1), axis=0)
    return g.op("Reshape", flat, shape)


def experts(
    g: GraphBuilder, x: str, router_logits: str, weights: ExpertWeights, chosen: int, form: Form, name: str
) -> str:
    """MoE or QMoE with gate and up rows interleaved, the one layout their CPU kernels take."""
    count, inner, hidden = weights.count, weights.inner, weights.hidden
    gate_up = _interleaved(weights)
    downs = (weights.down(i) for i in range(count))
    both = ((f"{name}.gate_up", 2 * inner, hidden, gate_up), (f"{name}.down", hidden, inner, downs))
    logits = g.reshape(router_logits, -1, count)
    settings: dict[str, Any] = {
        "domain": MICROSOFT,
        "k": chosen,
        "activation_type": "swiglu",
        "swiglu_fusion": 1,
        "activation_alpha": 1.0,
        "activation_beta": 0.0,
        "normalize_routing_weights": 1,
    }
    if not isinstance(form, BlockForm):
        kind = np.float16 if form == "float16" else np.float32
        first, second = (
            g.weight_from(part, kind, (count, rows, width), (_as(one, kind) for one in each))
            for part, rows, width, each in both
        )
        if form == "float16":
            first, second = g.cast(first, "float32"), g.cast(second, "float32")
        return g.op("MoE", x, logits, first, "", second, **settings)
    (w1, s1, z1), (w2, s2, z2) = (
        _packed(g, each, form, part, (count, rows), width, flat=True) for part, rows, width, each in both
    )
    # Bias of the second, then all of a third product: left out, up to the zero points.
    zeros = ("", "", "", "", z1, z2) if form.zero_points else ()
    return g.op(
        "QMoE",
        x,
        logits,
        w1,
        s1,
        "",
        w2,
        s2,
        *zeros,
        expert_weight_bits=form.bits,
        block_size=form.block,
        accuracy_level=_INT8_ACTIVATIONS,
        **settings,
    )


def _as(values: Floats, kind: Any) -> Any:
    with np.errstate(over="raise"):
        try:
            return values.astype(kind, copy=False)
        except FloatingPointError as error:
            raise UnsupportedModel(
                "an expert has weights beyond what float16 holds: choose another --precision."
            ) from error


def _interleaved(weights: ExpertWeights) -> Iterator[Floats]:
    for i in range(weights.count):
        gate, up = weights.gate_up(i)
        yield np.stack([gate, up], axis=1).reshape(-1, weights.hidden)


def _packed(
    g: GraphBuilder,
    chunks: Iterable[Floats],
    form: BlockForm,
    name: str,
    rows: tuple[int, ...],
    width: int,
    *,
    flat: bool,
) -> tuple[str, str, str]:
    """Names of integers, scales [*rows, blocks] and zero points [*rows, bytes] or "".

    Integers are [*rows, blocks, bytes], or [*rows, bytes] where they are to be `flat`.
    """
    beside: list[Packed] = []
    blocks = form.blocks(width)
    inner = (blocks * form.value_bytes(),) if flat else (blocks, form.value_bytes())
    values = g.weight_from(name, np.uint8, (*rows, *inner), _values(chunks, form, beside))
    scales = g.weight_from(f"{name}.scales", np.float32, (*rows, blocks), (one.scales for one in beside))
    zeros = ""
    if form.zero_points:
        found = (one.zeros for one in beside if one.zeros is not None)
        zeros = g.weight_from(f"{name}.zeros", np.uint8, (*rows, form.zero_bytes(width)), found)
    return values, scales, zeros


def _values(chunks: Iterable[Floats], form: BlockForm, beside: list[Packed]) -> Iterator[np.ndarray]:
    """The integers of each chunk, to be written at once; scales and zero points, small, wait in `beside`."""
    nothing = np.empty((0,), np.uint8)
    for chunk in chunks:
        packed = pack(chunk, form)
        beside.append(Packed(nothing, packed.scales, packed.zeros))
        yield packed.values


def _block_product(g: GraphBuilder, x: str, by: Table) -> str:
    form = by.form
    assert isinstance(form, BlockForm)
    return g.op(
        "MatMulNBits",
        x,
        by.values,
        by.scales,
        *((by.zeros,) if by.zeros else ()),
        domain=MICROSOFT,
        N=by.shape[0],
        K=by.shape[1],
        bits=form.bits,
        block_size=form.block,
        accuracy_level=_INT8_ACTIVATIONS,
    )
