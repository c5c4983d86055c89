"""The special operators as nodes that are our own kernels: Gated DeltaNet, experts, 4-bit products.

A layer of linear attention is one node in a step and three in a prefill, so what the description says in
three calls (convolution, delta rule, gated norm) is put off until the last of them. Names, arguments and
variants are those of `lineside.plugins`; weights keep the bundle's layout. Knows what kernels take; does not
know how they become plugins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.engines.config import LinearAttentionConfig, MoeConfig, TextConfig
from lineside.engines.graph.builder import ElementType, GraphBuilder
from lineside.engines.graph.dialects import given
from lineside.engines.graph.dialects.base import (
    DeltaNetWeights,
    ExpertWeights,
    Floats,
    RecurrentLayout,
    Table,
)
from lineside.engines.graph.dialects.tensorrt import TensorRtDialect, fed
from lineside.engines.graph.fed import Blocks, Declared, Dense, FedGraph
from lineside.engines.graph.matrix import Matrix
from lineside.engines.quantise.blocks import BlockForm
from lineside.plugins.gated_delta_net.chunks import CHUNK
from lineside.plugins.int4_matmul.shapes import BLOCKS
from lineside.plugins.tensorrt import NAMESPACE

_HEADS, _TAPS, _EPSILON = (32, 64, 128), 4, 1e-6
_MOST_EXPERTS, _MOST_CHOSEN = 1024, 32


def refusal(config: TextConfig) -> str | None:
    """Why our kernels cannot run a model; None where they can."""
    linear = config.linear
    if linear.key_dim != linear.value_dim or linear.key_dim not in _HEADS:
        return f"linear attention with heads of {linear.key_dim} and {linear.value_dim} numbers"
    if linear.conv_kernel != _TAPS:
        return f"a convolution over {linear.conv_kernel} tokens"
    if config.rms_eps != _EPSILON:
        return f"norms with an epsilon of {config.rms_eps}"
    mlp = config.mlp
    if isinstance(mlp, MoeConfig) and (
        mlp.experts > _MOST_EXPERTS or mlp.experts_per_token > _MOST_CHOSEN or mlp.intermediate % 8
    ):
        return f"{mlp.experts_per_token} of {mlp.experts} experts"
    return None


@dataclass(slots=True)
class _Layer:
    """What was said of a layer so far: names of its inputs, and of the states that it will give."""

    qkv: str
    conv_weight: str
    conv_state: str
    next_conv_state: str
    channels: int
    a: str = ""
    b: str = ""
    a_log: str = ""
    dt_bias: str = ""
    state: str = ""
    next_state: str = ""
    sizes: LinearAttentionConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRtPluginDialect(TensorRtDialect):
    """As `TensorRtDialect`, with our kernels. `unsaid`: layers of which not everything was said yet."""

    recurrent_layout: RecurrentLayout = "VK"
    unsaid: dict[str, _Layer] = field(default_factory=dict)

    def state_type(self, name: str) -> ElementType:
        """The kernels keep the convolution's state as activations, the recurrent one as float32."""
        return "float32" if name == "recurrent" else self.kind

    def causal_conv(self, g: GraphBuilder, x: str, weight: Floats, state: str, name: str) -> tuple[str, str]:
        """Put off."""
        graph = fed(g)
        taps = graph.derived(name, weight.shape, lambda stored: stored.astype(self.kind))
        handle = graph.fresh("layer")
        present = graph.fresh("next_conv_state")
        self.unsaid[handle] = _Layer(x, taps, state, present, weight.shape[0])
        return handle, present

    def gated_delta_net(
        self,
        g: GraphBuilder,
        qkv: str,
        a: str,
        b: str,
        state: str,
        weights: DeltaNetWeights,
        sizes: LinearAttentionConfig,
    ) -> tuple[str, str]:
        """Put off."""
        graph = fed(g)
        layer = self.unsaid[qkv]
        layer.a, layer.b, layer.state, layer.sizes = a, b, state, sizes
        layer.dt_bias = graph.weight("dt_bias", weights.dt_bias)
        layer.a_log = graph.derived("decay_scale", weights.a_log.shape, lambda scale: np.log(-scale))
        layer.next_state = graph.fresh("next_state")
        return qkv, layer.next_state

    def gated_rms_norm(
        self, g: GraphBuilder, x: str, gate: str, scale: Floats, epsilon: float, name: str
    ) -> str:
        """The whole layer: one node in a step, three in a prefill."""
        graph = fed(g)
        layer = self.unsaid.pop(x)
        assert layer.sizes is not None
        qkv, z, b, a = (graph.cast(value, self.kind) for value in (layer.qkv, gate, layer.b, layer.a))
        norm = graph.weight(name, scale)
        heads, dim = layer.sizes.value_heads, layer.sizes.value_dim
        y = Declared(graph.fresh("y"), self.kind, ("B", "T", layer.sizes.value_width))
        conv = Declared(layer.next_conv_state, self.kind, ("B", _TAPS - 1, layer.channels))
        state = Declared(layer.next_state, "float32", ("B", heads, dim, dim))
        beside = (layer.conv_weight, layer.a_log, layer.dt_bias)
        if self.call == "step":
            whole = (qkv, z, b, a, *beside, norm, layer.conv_state, layer.state)
            self._node(graph, "gated_delta_net_decode", whole, (y, conv, state))
            return graph.cast(y.name, "float32")
        mixed = Declared(graph.fresh("mixed"), self.kind, ("B", "T", layer.channels))
        decay, beta = (
            Declared(graph.fresh(one), "float32", ("B", heads, "T")) for one in ("log_decay", "beta")
        )
        u = Declared(graph.fresh("u"), self.kind, ("B", heads, "chunks", dim, CHUNK))
        w = Declared(graph.fresh("w"), self.kind, ("B", heads, "chunks", CHUNK, dim))
        p = Declared(graph.fresh("p"), self.kind, ("B", heads, "chunks", CHUNK, CHUNK))
        first = (qkv, b, a, *beside, layer.conv_state)
        self._node(graph, "gated_delta_net_prepare", first, (mixed, decay, beta, conv))
        self._node(graph, "gated_delta_net_solve", (mixed.name, decay.name, beta.name), (u, w, p))
        last = (mixed.name, decay.name, u.name, w.name, p.name, z, norm, layer.state)
        self._node(graph, "gated_delta_net_scan", last, (y, state))
        return graph.cast(y.name, "float32")

    def matmul(self, g: GraphBuilder, x: str, weight: Matrix, name: str, *, exact: bool = False) -> str:
        """Our own product where the weight is in blocks of 4-bit numbers; else as TensorRT does it."""
        graph = fed(g)
        unique = graph.fresh(name)
        found = graph.source.product(unique, weight.shape)
        if exact:
            return given.product(graph, x, found, unique, self.exact_kind, "stored")
        return self._product(graph, x, found, unique)

    def table_product(self, g: GraphBuilder, x: str, table: Table) -> str:
        """The same for the head."""
        graph = fed(g)
        found = graph.source.table(table.values, table.shape)
        if isinstance(found, Dense):
            return TensorRtDialect.table_product(self, g, x, table)
        return self._product(graph, x, found, table.values, "BK")

    def experts(
        self, g: GraphBuilder, x: str, router_logits: str, weights: ExpertWeights, chosen: int, name: str
    ) -> str:
        """Routing, then the chosen experts' products: pair by pair in a step, grouped in a prefill."""
        graph = fed(g)
        count, inner, hidden = weights.count, weights.inner, weights.hidden
        unique = graph.fresh(name)
        found = graph.source.experts(unique, count, inner, hidden)
        tokens = graph.cast(graph.reshape(x, -1, hidden), self.kind)
        logits = graph.reshape(router_logits, -1, count)
        which = Declared(graph.fresh("experts"), "int32", ("BT", chosen))
        shares = Declared(graph.fresh("shares"), "float32", ("BT", chosen))
        routing = f"{chosen}-of-{count}"
        self._node(graph, "moe_route", (logits,), (which, shares), routing)
        between = Declared(graph.fresh("hidden"), self.kind, ("BT", chosen, inner))
        y = Declared(graph.fresh("y"), self.kind, ("BT", hidden))
        gate_up, form = self._expert_weights(graph, f"{unique}.gate_up", count, (inner, 2), found.gate_up)
        down, _ = self._expert_weights(graph, f"{unique}.down", count, (hidden,), found.down)
        variant = self.kind + (f"-{form.block}" if form else "")
        tail = ("_int4_zeros" if form.zero_points else "_int4") if form else ""
        if self.call == "step":
            self._node(graph, f"moe_gate_up{tail}", (tokens, which.name, *gate_up), (between,), variant)
            taken = (between.name, which.name, shares.name, *down)
            self._node(graph, f"moe_down{tail}", taken, (y,), variant)
        else:
            order = Declared(graph.fresh("order"), "int32", ("BT", chosen))
            groups = Declared(graph.fresh("groups"), "int32", (count, 3))
            parts = Declared(graph.fresh("parts"), self.kind, ("BT", chosen, hidden))
            self._node(graph, "moe_group", (which.name,), (order, groups), routing)
            sorted_by = (order.name, groups.name)
            self._node(
                graph, f"moe_grouped_gate_up{tail}", (tokens, *sorted_by, *gate_up), (between,), variant
            )
            self._node(graph, f"moe_grouped_down{tail}", (between.name, *sorted_by, *down), (parts,), variant)
            taken = (parts.name, which.name, shares.name)
            self._node(graph, "moe_combine", taken, (y,), f"{self.kind}-{count}")
        return self._rows_again(graph, graph.cast(y.name, "float32"), x, hidden)

    def _product(self, g: FedGraph, x: str, found: Dense | Blocks, name: str, count: str = "BT") -> str:
        """`count`: the name of how many rows x has in all."""
        if self.rounding != "stored" or not isinstance(found, Blocks) or not _ours(found.form):
            return given.product(g, x, found, name, self.kind, self.rounding)
        rows, width = found.shape
        form = found.form
        tail = "_int4_zeros" if form.zero_points else "_int4"
        kernel = "gemv" if self.call == "step" else "gemm"
        tokens = g.cast(g.reshape(x, -1, width), self.kind)
        y = Declared(g.fresh("y"), self.kind, (count, rows))
        stored = _stored(g, name, (rows,), form, width, lambda: iter((found,)))
        self._node(g, f"{kernel}{tail}", (tokens, *stored), (y,), f"{self.kind}-{form.block}")
        return self._rows_again(g, g.cast(y.name, "float32"), x, rows)

    def _rows_again(self, g: FedGraph, y: str, x: str, width: int) -> str:
        """[B·T, width] → [B, T, width], T as in x; of a step it is said outright: layers want to know."""
        if self.call == "step":
            return g.reshape(y, -1, 1, width)
        return g.op("Reshape", y, g.op("Concat", g.op("Shape", x, end=2), g.integers(width), axis=0))

    def _expert_weights(
        self, g: FedGraph, name: str, count: int, rows: tuple[int, ...], one: Any
    ) -> tuple[tuple[str, ...], BlockForm | None]:
        """Names of the stored tensors of all experts, and their form where they stay in blocks."""
        first: Dense | Blocks = one(0)
        width = first.shape[1]
        if isinstance(first, Blocks) and _ours(first.form):
            each = partial(map, one, range(count))
            return _stored(g, name, (count, *rows), first.form, width, each), first.form
        assert self.kind in ("float32", "float16")

        def chunks() -> Iterator[NDArray[Any]]:
            return (given.whole(one(e)).astype(self.kind) for e in range(count))

        return (g.feed(name, self.kind, (count, *rows, width), chunks),), None

    def _node(
        self,
        g: FedGraph,
        kernel: str,
        inputs: tuple[str, ...],
        outputs: tuple[Declared, ...],
        variant: str | None = None,
    ) -> None:
        attributes: dict[str, str | int] = {
            "plugin_namespace": NAMESPACE,
            "plugin_version": "1",
            "aot": 1,
            "variant": variant or self.kind,
        }
        g.ours(kernel, inputs, outputs, attributes)


def _ours(form: BlockForm) -> bool:
    return form.bits == 4 and form.block in BLOCKS


def _stored(
    g: FedGraph, name: str, rows: tuple[int, ...], form: BlockForm, width: int, each: Any
) -> tuple[str, ...]:
    """Values, scales and zeros as the bundle has them; bytes travel as int8, the one type plugins take."""
    blocks = form.blocks(width)

    def parts(part: str) -> Iterator[NDArray[Any]]:
        for one in each():
            packed = one.read(0, blocks)
            if part == "scales":
                yield packed.scales.astype(np.float16)
            else:
                yield packed.values if part == "values" else packed.zeros

    values = g.feed(name, "int8", (*rows, blocks, form.value_bytes()), lambda: parts("values"))
    scales = g.feed(f"{name}.scales", "float16", (*rows, blocks), lambda: parts("scales"))
    if not form.zero_points:
        return values, scales
    zeros = g.feed(f"{name}.zeros", "int8", (*rows, form.zero_bytes(width)), lambda: parts("zeros"))
    return values, scales, zeros
