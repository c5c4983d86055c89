"""The plain dialect: basic ONNX operators only, the readable reference for the other two.

Says each operator's mathematics step by step, so that it can be read beside the model's definition. The
cache grows by what is new in each call: rows that go on together must be equally long, or the host closes
the gaps. Knows no runtime.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lineside.engines.config import LinearAttentionConfig
from lineside.engines.graph.builder import ElementType, GraphBuilder
from lineside.engines.graph.dialects.base import (
    Angles,
    DeltaNetWeights,
    ExpertWeights,
    Floats,
    HeadLayout,
    KeyValueCache,
    RecurrentLayout,
    Table,
)
from lineside.engines.graph.matrix import Matrix

_L2_EPSILON = 1e-6
_MASKED = -1e30  # finite, so that a row of nothing else would not become NaN


@dataclass(frozen=True, slots=True)
class PlainDialect:
    """Basic operators only."""

    name: str = "plain"
    recurrent_layout: RecurrentLayout = "KV"
    present_cache_axis: str = "S_T"

    def state_type(self, name: str) -> ElementType:
        """float32, all of them."""
        return "float32"

    @property
    def rounds_weights(self) -> bool:
        """Never: this is the reference."""
        return False

    def matmul(self, g: GraphBuilder, x: str, weight: Matrix, name: str, *, exact: bool = False) -> str:
        """x·Wᵀ."""
        rows, width = weight.shape
        return g.op("MatMul", x, g.weight_from(name, np.float32, (width, rows), weight.columns()))

    def table(self, g: GraphBuilder, weight: Matrix, name: str, *, multiplied: bool) -> Table:
        """As it is."""
        return Table(g.weight_from(name, np.float32, weight.shape, weight.chunks()), weight.shape, "float32")

    def lookup(self, g: GraphBuilder, table: Table, ids: str) -> str:
        """Row by row."""
        return g.op("Gather", table.values, ids, axis=0)

    def table_product(self, g: GraphBuilder, x: str, table: Table) -> str:
        """x·Wᵀ, by the one basic operator that reads W as it is stored."""
        flat = g.op("Gemm", g.reshape(x, -1, table.shape[1]), table.values, transB=1)
        shape = g.op("Concat", g.op("Shape", x, end=2), g.integers(-1), axis=0)
        return g.op("Reshape", flat, shape)

    def rms_norm(self, g: GraphBuilder, x: str, scale: Floats, epsilon: float, name: str) -> str:
        """x / sqrt(mean(x²) + ε) · scale."""
        mean = g.op("ReduceMean", g.op("Mul", x, x), g.integers(-1), keepdims=1)
        root = g.op("Sqrt", g.op("Add", mean, g.scalar(epsilon)))
        return g.op("Mul", g.op("Div", x, root), g.weight(name, scale))

    def add_rms_norm(
        self, g: GraphBuilder, x: str, residual: str, scale: Floats, epsilon: float, name: str
    ) -> tuple[str, str]:
        """The sum, and its norm."""
        total = g.op("Add", residual, x)
        return self.rms_norm(g, total, scale, epsilon, name), total

    def gated_rms_norm(
        self, g: GraphBuilder, x: str, gate: str, scale: Floats, epsilon: float, name: str
    ) -> str:
        """Norm of each head, side by side again, times silu(gate)."""
        heads = self.rms_norm(g, g.reshape(x, 0, 0, -1, len(scale)), scale, epsilon, name)
        flat = g.op("Reshape", heads, g.op("Shape", gate))
        return g.op("Mul", flat, _silu(g, gate))

    def causal_conv(self, g: GraphBuilder, x: str, weight: Floats, state: str, name: str) -> tuple[str, str]:
        """A depthwise Conv over the state with x behind it; the last K−1 inputs are the next state."""
        channels, _, width = weight.shape
        seen = g.op("Concat", state, x, axis=1)
        first = g.op("Transpose", seen, perm=[0, 2, 1])
        y = g.op("Conv", first, g.weight(name, weight), group=channels)
        last = g.op("Slice", seen, g.integers(1 - width), g.integers(np.iinfo(np.int64).max), g.integers(1))
        return _silu(g, g.op("Transpose", y, perm=[0, 2, 1])), last

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
        """A Scan over the tokens."""
        q, k, v = g.split(qkv, sizes.key_width, sizes.key_width, sizes.value_width)
        q = g.op("Mul", _unit_heads(g, q, sizes), g.scalar(sizes.key_dim**-0.5))
        k = _unit_heads(g, k, sizes)
        v = g.reshape(v, 0, 0, sizes.value_heads, sizes.value_dim)
        soft = g.op("Softplus", g.op("Add", a, g.weight("dt_bias", weights.dt_bias)))
        decay = g.op("Exp", g.op("Mul", soft, g.weight("decay_scale", -np.exp(weights.a_log))))
        beta = g.op("Sigmoid", b)
        present, o = g.ops(
            "Scan",
            state,
            q,
            k,
            v,
            decay,
            beta,
            outputs=2,
            num_scan_inputs=5,
            scan_input_axes=[1] * 5,
            scan_output_axes=[1],
            body=_delta_rule(g, sizes).graph(),
        )
        return g.reshape(o, 0, 0, sizes.value_width), present

    def rotary(self, g: GraphBuilder, x: str, angles: Angles, heads: int, head_dim: int) -> str:
        """(x₁·cos − x₂·sin, x₂·cos + x₁·sin) for the two halves of what turns; the rest stays."""
        half = angles.dim // 2
        parts = g.split(g.reshape(x, 0, 0, heads, head_dim), *_sizes(half, half, head_dim - angles.dim))
        first, second, *rest = parts
        cos = g.op("Unsqueeze", angles.cos, g.integers(2))
        sin = g.op("Unsqueeze", angles.sin, g.integers(2))
        turned = (
            g.op("Sub", g.op("Mul", first, cos), g.op("Mul", second, sin)),
            g.op("Add", g.op("Mul", second, cos), g.op("Mul", first, sin)),
        )
        return g.reshape(g.op("Concat", *turned, *rest, axis=-1), 0, 0, heads * head_dim)

    def cache_context(
        self, g: GraphBuilder, input_ids: str, past_length: str, cache: KeyValueCache
    ) -> tuple[str, ...]:
        """The mask added to scores, [B, 1, 1, T, S + T].

        A token sees what its row has in the cache (rows may hold less than the cache is long) and, of the new
        tokens, itself and those before it.
        """
        past, new = g.op("Shape", cache.key, start=2, end=3), g.op("Shape", input_ids, start=1, end=2)
        past_at, new_at = _range(g, past), _range(g, new)
        lengths = g.op("Unsqueeze", past_length, g.integers(1, 2))
        old_seen = g.op("Less", past_at, lengths)  # [B, 1, S]
        shape = g.op("Concat", g.op("Shape", input_ids), past, axis=0)
        old_seen = g.op("Expand", old_seen, shape)  # [B, T, S]
        new_seen = g.op("LessOrEqual", new_at, g.op("Unsqueeze", new_at, g.integers(1)))  # [T, T]
        shape = g.op("Concat", g.op("Shape", input_ids), new, axis=0)
        new_seen = g.op("Expand", new_seen, shape)  # [B, T, T]
        seen = g.op("Concat", old_seen, new_seen, axis=-1)
        mask = g.op("Where", seen, g.scalar(0.0), g.scalar(_MASKED))
        return (g.op("Unsqueeze", mask, g.integers(1, 2)),)

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
        """softmax(q·kᵀ/√d + mask)·v, with the query heads that share a key in an axis of their own."""
        (mask,) = context
        groups, dim = layout.heads // layout.kv_heads, layout.head_dim
        keys = g.op("Concat", cache.key, _heads_first(g, k, layout.kv_heads, dim), axis=2)
        values = g.op("Concat", cache.value, _heads_first(g, v, layout.kv_heads, dim), axis=2)
        # [B, T, heads·d] → [B, kv_heads, groups, T, d]
        queries = g.op("Transpose", g.reshape(q, 0, 0, layout.kv_heads, groups, dim), perm=[0, 2, 3, 1, 4])
        shared_keys, shared_values = (g.op("Unsqueeze", x, g.integers(2)) for x in (keys, values))
        o = _attend(g, queries, shared_keys, shared_values, dim, mask)
        o = g.op("Transpose", o, perm=[0, 3, 1, 2, 4])
        return g.op("Reshape", o, g.op("Shape", q)), keys, values

    def picture_attention(self, g: GraphBuilder, q: str, k: str, v: str, heads: int, head_dim: int) -> str:
        """softmax(q·kᵀ/√d)·v for each head."""
        queries, keys, values = (_heads_first(g, x, heads, head_dim) for x in (q, k, v))
        o = _attend(g, queries, keys, values, head_dim, None)
        return g.op("Reshape", g.op("Transpose", o, perm=[0, 2, 1, 3]), g.op("Shape", q))

    def experts(
        self, g: GraphBuilder, x: str, router_logits: str, weights: ExpertWeights, chosen: int, name: str
    ) -> str:
        """Every expert for every token, weighted by zero where it was not chosen."""
        count, inner, hidden = weights.count, weights.inner, weights.hidden
        best, which = g.ops("TopK", router_logits, g.integers(chosen), outputs=2, axis=-1)
        shares = g.op("Softmax", best, axis=-1)
        nobody = g.op("ConstantOfShape", g.op("Shape", router_logits))
        share = g.op("ScatterElements", nobody, which, shares, axis=-1)  # [B, T, experts]
        tokens = g.reshape(x, 1, -1, hidden)
        gate, up = (
            g.op(
                "MatMul",
                tokens,
                g.weight_from(
                    f"{name}.{part}",
                    np.float32,
                    (count, hidden, inner),
                    (weights.gate_up(e)[which_one].T for e in range(count)),
                ),
            )
            for which_one, part in enumerate(("gate", "up"))
        )
        down = g.weight_from(
            f"{name}.down", np.float32, (count, inner, hidden), (weights.down(e).T for e in range(count))
        )
        each = g.op("MatMul", g.op("Mul", _silu(g, gate), up), down)  # [experts, B·T, H]
        by_expert = g.op("Transpose", g.reshape(share, -1, count, 1), perm=[1, 0, 2])
        total = g.op("ReduceSum", g.op("Mul", each, by_expert), g.integers(0), keepdims=0)
        return g.op("Reshape", total, g.op("Shape", x))


def _delta_rule(g: GraphBuilder, sizes: LinearAttentionConfig) -> GraphBuilder:
    """One token: S ← e^g·S; S ← S + k·(β·(v − Sᵀk))ᵀ; o = Sᵀq, for each value head."""
    heads, key_dim, value_dim = sizes.value_heads, sizes.key_dim, sizes.value_dim
    body = g.subgraph("delta_rule")

    def token(name: str, *shape: int) -> str:
        return body.input(body.fresh(name), "float32", ["B", *shape])

    state = token("state", heads, key_dim, value_dim)
    q, k = token("q", heads, key_dim), token("k", heads, key_dim)
    v, decay, beta = token("v", heads, value_dim), token("decay", heads), token("beta", heads)
    row, column = body.integers(2), body.integers(3)
    faded = body.op("Mul", state, body.op("Unsqueeze", decay, body.integers(2, 3)))
    recalled = body.op("MatMul", body.op("Unsqueeze", k, row), faded)  # [B, heads, 1, value_dim]
    surprise = body.op("Sub", body.op("Unsqueeze", v, row), recalled)
    step = body.op("Mul", surprise, body.op("Unsqueeze", beta, body.integers(2, 3)))
    after = body.op("Add", faded, body.op("MatMul", body.op("Unsqueeze", k, column), step))
    o = body.op("Squeeze", body.op("MatMul", body.op("Unsqueeze", q, row), after), row)
    body.output(after, after, "float32", ["B", heads, key_dim, value_dim])
    body.output(o, o, "float32", ["B", heads, value_dim])
    return body


def _unit_heads(g: GraphBuilder, x: str, sizes: LinearAttentionConfig) -> str:
    """[B, T, keys] → [B, T, value_heads, key_dim]: heads of length one, repeated for who shares them."""
    heads = g.reshape(x, 0, 0, sizes.key_heads, sizes.key_dim)
    square = g.op("ReduceSum", g.op("Mul", heads, heads), g.integers(-1), keepdims=1)
    unit = g.op("Div", heads, g.op("Sqrt", g.op("Add", square, g.scalar(_L2_EPSILON))))
    share = sizes.value_heads // sizes.key_heads
    if share == 1:
        return unit
    repeated = g.op("Tile", g.op("Unsqueeze", unit, g.integers(3)), g.integers(1, 1, 1, share, 1))
    return g.reshape(repeated, 0, 0, sizes.value_heads, sizes.key_dim)


def _attend(g: GraphBuilder, q: str, k: str, v: str, dim: int, mask: str | None) -> str:
    axes = 5 if mask is not None else 4
    turned = g.op("Transpose", k, perm=[*range(axes - 2), axes - 1, axes - 2])
    scores = g.op("MatMul", g.op("Mul", q, g.scalar(dim**-0.5)), turned)
    if mask is not None:
        scores = g.op("Add", scores, mask)
    return g.op("MatMul", g.op("Softmax", scores, axis=-1), v)


def _heads_first(g: GraphBuilder, x: str, heads: int, dim: int) -> str:
    """[B, T, heads·dim] → [B, heads, T, dim]."""
    return g.op("Transpose", g.reshape(x, 0, 0, heads, dim), perm=[0, 2, 1, 3])


def _silu(g: GraphBuilder, x: str) -> str:
    return g.op("Mul", x, g.op("Sigmoid", x))


def _range(g: GraphBuilder, count: str) -> str:
    """0 … count − 1, for a count in a vector of one."""
    zero, one = (g.constant(np.array(i, np.int64)) for i in (0, 1))
    return g.op("Range", zero, g.op("Squeeze", count, g.integers(0)), one)


def _sizes(*sizes: int) -> tuple[int, ...]:
    """Without the pieces that are empty."""
    return tuple(size for size in sizes if size)
