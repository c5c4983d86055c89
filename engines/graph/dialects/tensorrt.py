"""The dialect of TensorRT: native attention, cache update and rotary layers; the rest in basic operators.

Products and attention in half precision, everything between them (norms, gates, the residual stream, the
delta rule) in float32. A graph is for one new token a row (`step`) or for any number (`prefill`): what a
compiler makes of the two has little in common. Weights are fed (see `graph/fed.py`); rows of the embedding
table come in as `text_embeds`, because the host has the table and sends a few kilobytes a token. Knows what
TensorRT's parser takes; `tensorrt_plugins.py` says the special operators with our own kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lineside.engines.config import LinearAttentionConfig
from lineside.engines.graph.builder import ElementType, GraphBuilder
from lineside.engines.graph.dialects import given
from lineside.engines.graph.dialects.base import (
    Angles,
    DeltaNetWeights,
    ExpertWeights,
    Floats,
    HeadLayout,
    KeyValueCache,
    Table,
)
from lineside.engines.graph.dialects.delta_rule import CHUNK, many_tokens, one_token, unit_heads
from lineside.engines.graph.dialects.given import Rounding
from lineside.engines.graph.dialects.plain import PlainDialect
from lineside.engines.graph.fed import Dense, FedGraph
from lineside.engines.graph.matrix import Matrix

Call = Literal["step", "prefill"]
Attention = Literal["native", "products"]
TEXT_EMBEDS = "text_embeds"
_MASKED = -30000.0  # half precision holds it, and a score added to it stays finite


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRtDialect(PlainDialect):
    """`kind`: of products and attention; `exact_kind`: of those that are to stay exact.

    `rounding`: of weights; `chunk`: of the delta rule in a prefill. `attention`: of the decoder, as the
    native layer or as the products it is made of, which TensorRT-RTX fuses just as well (docs/tensorrt.md).
    """

    name: str = "tensorrt"
    present_cache_axis: str = "S"
    call: Call = "prefill"
    kind: ElementType = "float16"
    exact_kind: ElementType = "float32"
    rounding: Rounding = "stored"
    attention: Attention = "native"
    chunk: int = CHUNK

    @property
    def rounds_weights(self) -> bool:
        """Gates and routers stay float32, whatever the other products become."""
        return True

    def state_type(self, name: str) -> ElementType:
        """The cache is what attention reads; states that are updated token by token stay float32."""
        return self.kind if name in ("key", "value") else "float32"

    def matmul(self, g: GraphBuilder, x: str, weight: Matrix, name: str, *, exact: bool = False) -> str:
        """A half-precision product, or one by packed integers; an `exact` one is float32 throughout."""
        graph = fed(g)
        unique = graph.fresh(name)
        found = graph.source.product(unique, weight.shape)
        if exact:
            return given.product(graph, x, found, unique, self.exact_kind, "stored")
        return given.product(graph, x, found, unique, self.kind, self.rounding)

    def table(self, g: GraphBuilder, weight: Matrix, name: str, *, multiplied: bool) -> Table:
        """Its name: whatever is looked up is looked up on the host."""
        return Table(g.fresh(name), weight.shape, "float32")

    def lookup(self, g: GraphBuilder, table: Table, ids: str) -> str:
        """The input `text_embeds` [B, T, width]."""
        return g.cast(g.input(TEXT_EMBEDS, self.kind, ["B", "T", table.shape[1]]), "float32")

    def table_product(self, g: GraphBuilder, x: str, table: Table) -> str:
        """The head: a product by the table, which is read as it is stored where it is half precision."""
        graph = fed(g)
        rows, width = table.shape
        found = graph.source.table(table.values, table.shape)
        if self.rounding == "stored" and isinstance(found, Dense) and not found.turned:
            assert self.kind in ("float32", "float16")
            w = graph.feed(
                table.values,
                self.kind,
                (rows, width),
                lambda: (
                    found.rows(start, min(start + 4096, rows)).astype(self.kind)
                    for start in range(0, rows, 4096)
                ),
            )
            y = g.op("MatMul", g.cast(x, self.kind), g.op("Transpose", w, perm=[1, 0]))
            return g.cast(y, "float32")
        return given.product(graph, x, found, table.values, self.kind, self.rounding)

    def causal_conv(self, g: GraphBuilder, x: str, weight: Floats, state: str, name: str) -> tuple[str, str]:
        """A sum of shifted products: no transposes, and nothing but elementwise work."""
        channels, _, width = weight.shape
        seen = g.op("Concat", state, x, axis=1)
        taps = g.reshape(g.weight(name, weight), channels, width)
        taps = g.op("Transpose", taps, perm=[1, 0])
        count = g.op("Shape", x, start=1, end=2)
        total = ""
        for tap in range(width):
            start = g.integers(tap)
            piece = g.op("Slice", seen, start, g.op("Add", count, start), g.integers(1))
            by = g.op("Slice", taps, start, g.integers(tap + 1), g.integers(0))
            part = g.op("Mul", piece, by)
            total = g.op("Add", total, part) if total else part
        last = g.op("Slice", seen, g.integers(1 - width), g.integers(np.iinfo(np.int64).max), g.integers(1))
        return g.op("Mul", total, g.op("Sigmoid", total)), last

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
        """One token as it is, many in chunks."""
        q, k, v = g.split(qkv, sizes.key_width, sizes.key_width, sizes.value_width)
        q = g.op("Mul", unit_heads(g, q, sizes), g.scalar(sizes.key_dim**-0.5))
        k = unit_heads(g, k, sizes)
        v = g.reshape(v, 0, 0, sizes.value_heads, sizes.value_dim)
        soft = g.op("Softplus", g.op("Add", a, g.weight("dt_bias", weights.dt_bias)))
        log_decay = g.op("Mul", soft, g.weight("decay_scale", -np.exp(weights.a_log)))
        beta = g.op("Sigmoid", b)
        if self.call == "step":
            return one_token(g, q, k, v, log_decay, beta, state, sizes)
        return many_tokens(g, q, k, v, log_decay, beta, state, sizes, self.chunk)

    def rotary(self, g: GraphBuilder, x: str, angles: Angles, heads: int, head_dim: int) -> str:
        """The native layer, with the angles of each token as they come from the host."""
        first = _heads_first(g, x, heads, head_dim)
        turned = g.op("RotaryEmbedding", first, angles.cos, angles.sin, rotary_embedding_dim=angles.dim)
        return g.reshape(g.op("Transpose", turned, perm=[0, 2, 1, 3]), 0, 0, heads * head_dim)

    def cache_context(
        self, g: GraphBuilder, input_ids: str, past_length: str, cache: KeyValueCache
    ) -> tuple[str, ...]:
        """(mask added to scores [B, 1, T, S], where each row's new keys go [B]).

        A token sees what its row has in the cache, itself and the new tokens before it.
        """
        new, capacity = g.op("Shape", TEXT_EMBEDS, start=1, end=2), g.op("Shape", cache.key, start=2, end=3)
        last = g.op("Add", _range(g, new), g.op("Unsqueeze", past_length, g.integers(1)))  # [B, T]
        seen = g.op("LessOrEqual", _range(g, capacity), g.op("Unsqueeze", last, g.integers(1, 3)))
        kind = np.float16 if self.kind == "float16" else np.float32
        nothing, masked = (g.constant(np.array(value, kind)) for value in (0.0, _MASKED))
        return g.op("Where", seen, nothing, masked), past_length

    def gqa_attention(
        self,
        g: GraphBuilder,
        q: str,
        k: str,
        v: str,
        cache: KeyValueCache,
        context: tuple[str, ...],
        layout: HeadLayout,
    ) -> tuple[str, str, str]:
        """The cache's update and attention over all of its capacity, both native layers."""
        mask, write = context
        dim = layout.head_dim
        queries = g.cast(_heads_first(g, q, layout.heads, dim), self.kind)
        fresh = (g.cast(_heads_first(g, x, layout.kv_heads, dim), self.kind) for x in (k, v))
        keys, values = (
            g.op("TensorScatter", past, one, write, axis=2)
            for past, one in zip((cache.key, cache.value), fresh, strict=True)
        )
        if self.attention == "native":
            o = g.op("Attention", queries, keys, values, mask)
        else:
            o = _products(g, queries, keys, values, mask, layout)
        o = g.reshape(g.op("Transpose", o, perm=[0, 2, 1, 3]), 0, 0, layout.heads * dim)
        return g.cast(o, "float32"), keys, values

    def picture_attention(self, g: GraphBuilder, q: str, k: str, v: str, heads: int, head_dim: int) -> str:
        """The native layer, without a mask."""
        first = (g.cast(_heads_first(g, x, heads, head_dim), self.kind) for x in (q, k, v))
        o = g.op("Attention", *first)
        o = g.reshape(g.op("Transpose", o, perm=[0, 2, 1, 3]), 0, 0, heads * head_dim)
        return g.cast(o, "float32")

    def experts(
        self, g: GraphBuilder, x: str, router_logits: str, weights: ExpertWeights, chosen: int, name: str
    ) -> str:
        """Every expert for every token, weighted by zero where it was not chosen."""
        graph = fed(g)
        count, inner, hidden = weights.count, weights.inner, weights.hidden
        unique = graph.fresh(name)
        found = graph.source.experts(unique, count, inner, hidden)
        best, which = g.ops("TopK", router_logits, g.integers(chosen), outputs=2, axis=-1)
        nobody = g.op("Mul", router_logits, g.scalar(0.0))
        share = g.op("ScatterElements", nobody, which, g.op("Softmax", best, axis=-1), axis=-1)
        tokens = g.cast(g.reshape(x, 1, -1, hidden), self.kind)

        def product(of: str, part: str, shape: tuple[int, ...], one: object) -> str:
            assert self.kind in ("float32", "float16")
            w = graph.feed(f"{unique}.{part}", self.kind, (count, *shape), one)  # type: ignore[arg-type]
            return g.op("MatMul", of, w)

        gate, up = (
            g.cast(
                product(
                    tokens,
                    part,
                    (hidden, inner),
                    lambda place=place: (
                        given.whole(found.gate_up(e))[place::2].T.astype(self.kind) for e in range(count)
                    ),
                ),
                "float32",
            )
            for place, part in enumerate(("gate", "up"))
        )
        inside = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), up)
        each = product(
            g.cast(inside, self.kind),
            "down",
            (inner, hidden),
            lambda: (given.whole(found.down(e)).T.astype(self.kind) for e in range(count)),
        )
        by_expert = g.op("Transpose", g.reshape(share, -1, count, 1), perm=[1, 0, 2])  # [experts, B·T, 1]
        total = g.op("ReduceSum", g.op("Mul", g.cast(each, "float32"), by_expert), g.integers(0), keepdims=0)
        return g.op("Reshape", total, g.op("Shape", x))


def fed(g: GraphBuilder) -> FedGraph:
    """
    Raises:
        TypeError: `g` keeps its weights: this dialect says graphs that are fed.
    """
    if not isinstance(g, FedGraph):
        raise TypeError(f"the tensorrt dialect writes fed graphs, not {type(g).__name__}")
    return g


def _heads_first(g: GraphBuilder, x: str, heads: int, dim: int) -> str:
    """[B, T, heads·dim] → [B, heads, T, dim]."""
    return g.op("Transpose", g.reshape(x, 0, 0, heads, dim), perm=[0, 2, 1, 3])


def _products(g: GraphBuilder, q: str, k: str, v: str, mask: str, layout: HeadLayout) -> str:
    """softmax(q·kᵀ/√d + mask)·v, heads [B, heads, .., d]; keys and values repeated for who shares them."""
    shared = layout.heads // layout.kv_heads

    def spread(x: str) -> str:
        if shared == 1:
            return x
        each = g.op("Concat", *[g.op("Unsqueeze", x, g.integers(2))] * shared, axis=2)
        shape = g.op(
            "Concat", g.op("Shape", x, end=1), g.integers(layout.heads), g.op("Shape", x, start=2), axis=0
        )
        return g.op("Reshape", each, shape)

    # Both sides by the root of the scale, as the native layer does: half precision has no room for large
    # scores.
    root = g.op("CastLike", g.scalar(layout.head_dim**-0.25), q)
    turned = g.op("Transpose", spread(g.op("Mul", k, root)), perm=[0, 1, 3, 2])
    scores = g.op("Add", g.op("MatMul", g.op("Mul", q, root), turned), mask)
    return g.op("MatMul", g.op("Softmax", scores, axis=-1), spread(v))


def _range(g: GraphBuilder, count: str) -> str:
    """0 … count − 1, for a count in a vector of one."""
    zero, one = (g.constant(np.array(i, np.int64)) for i in (0, 1))
    return g.op("Range", zero, g.op("Squeeze", count, g.integers(0)), one)
