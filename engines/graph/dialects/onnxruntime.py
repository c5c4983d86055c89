"""The dialect of ONNX Runtime: its fused `com.microsoft` operators, states that may be bound in place.

Knows what ONNX Runtime's kernels accept; does not know the model's layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lineside.engines.config import LinearAttentionConfig
from lineside.engines.graph.builder import MICROSOFT, ElementType, GraphBuilder
from lineside.engines.graph.dialects import stored
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
from lineside.engines.quantise.forms import WeightForms

_L2_EPSILON = 1e-6
_SAMPLED_ROWS = 64
# GroupQueryAttention's inputs between total_sequence_length and query_seqlens: rotary caches, biases, scales.
_LEFT_OUT = ("",) * 9


@dataclass(frozen=True, slots=True)
class OnnxRuntimeDialect:
    """`linear_attention`: which operator runs the delta rule.

    `linear_attention` is by far the faster one on a CPU; `gated_delta_net` has chunked CUDA kernels.
    `weights`: decides the form each weight is stored in, and remembers it.
    """

    linear_attention: Literal["linear_attention", "gated_delta_net"] = "linear_attention"
    weights: WeightForms = field(default_factory=WeightForms)
    name: str = "onnxruntime"
    present_cache_axis: str = "S"

    @property
    def _for_cuda(self) -> bool:
        return self.linear_attention == "gated_delta_net"

    @property
    def recurrent_layout(self) -> RecurrentLayout:
        """GatedDeltaNet keeps its state value-major."""
        return "VK" if self._for_cuda else "KV"

    def state_type(self, name: str) -> ElementType:
        """float32, all of them."""
        return "float32"

    @property
    def rounds_weights(self) -> bool:
        """In every precision but float32."""
        return self.weights.rounds

    def matmul(self, g: GraphBuilder, x: str, weight: Matrix, name: str, *, exact: bool = False) -> str:
        """One node; the weight in the form that its own numbers ask for."""
        form = "float32" if exact else self.weights.product(weight)
        return stored.product(g, x, weight, form, name)

    def table(self, g: GraphBuilder, weight: Matrix, name: str, *, multiplied: bool) -> Table:
        """Stored once, for both uses."""
        return stored.table(g, weight, self.weights.table(weight, multiplied=multiplied), name)

    def lookup(self, g: GraphBuilder, table: Table, ids: str) -> str:
        """Gather, or GatherBlockQuantized."""
        return stored.lookup(g, table, ids)

    def table_product(self, g: GraphBuilder, x: str, table: Table) -> str:
        """Gemm, or MatMulNBits."""
        return stored.table_product(g, x, table)

    def rms_norm(self, g: GraphBuilder, x: str, scale: Floats, epsilon: float, name: str) -> str:
        """The standard operator has a fast kernel."""
        return g.op("RMSNormalization", x, g.weight(name, scale), axis=-1, epsilon=epsilon)

    def add_rms_norm(
        self, g: GraphBuilder, x: str, residual: str, scale: Floats, epsilon: float, name: str
    ) -> tuple[str, str]:
        """One node; its second and third outputs are statistics that nobody asks for."""
        normed, total = g.ops_at(
            "SkipSimplifiedLayerNormalization",
            x,
            residual,
            g.weight(name, scale),
            wanted=(0, 3),
            domain=MICROSOFT,
            epsilon=epsilon,
        )
        return normed, total

    def gated_rms_norm(
        self, g: GraphBuilder, x: str, gate: str, scale: Floats, epsilon: float, name: str
    ) -> str:
        """GatedRMSNorm is one launch on a GPU; its CPU kernel is several times slower than these steps."""
        if self._for_cuda:
            return g.op(
                "GatedRMSNorm",
                x,
                g.weight(name, scale),
                gate,
                domain=MICROSOFT,
                epsilon=epsilon,
                activation="silu",
            )
        heads = self.rms_norm(g, g.reshape(x, 0, 0, -1, len(scale)), scale, epsilon, name)
        flat = g.op("Reshape", heads, g.op("Shape", gate))
        return g.op("Mul", flat, g.op("QuickGelu", gate, domain=MICROSOFT, alpha=1.0))

    def causal_conv(self, g: GraphBuilder, x: str, weight: Floats, state: str, name: str) -> tuple[str, str]:
        """Channels last, so that nothing is transposed.

        On the processor as products with shifted views: the operator there takes four times as long
        (docs/performance.md). The kernel is stored as ever, and taken apart once, when the graph is loaded.
        """
        if not self._for_cuda:
            return self._shifted_products(g, x, g.weight(name, weight), weight.shape[2], state)
        y, present = g.ops(
            "CausalConvWithState",
            x,
            g.weight(name, weight),
            "",
            state,
            outputs=2,
            domain=MICROSOFT,
            activation="silu",
            channels_last=1,
        )
        return y, present

    def _shifted_products(
        self, g: GraphBuilder, x: str, kernel: str, width: int, state: str
    ) -> tuple[str, str]:
        seen = g.op("Concat", state, x, axis=1)
        axis, step, end = g.integers(1), g.integers(1), g.integers(np.iinfo(np.int64).max)
        taps = [g.reshape(tap, -1) for tap in g.split(kernel, *[1] * width)]
        y = g.op("Mul", x, taps[-1])
        for at, tap in enumerate(taps[:-1]):
            view = g.op("Slice", seen, g.integers(at), g.integers(at - width + 1), axis, step)
            y = g.op("Add", y, g.op("Mul", view, tap))
        last = g.op("Slice", seen, g.integers(1 - width), end, axis, step)
        return g.op("QuickGelu", y, domain=MICROSOFT, alpha=1.0), last

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
        """LinearAttention with its gates beside it, or GatedDeltaNet, which has everything inside."""
        if self._for_cuda:
            o, present = g.ops(
                "GatedDeltaNet",
                qkv,
                "",
                "",
                "",
                a,
                b,
                state,
                g.weight("a_log", weights.a_log),
                g.weight("dt_bias", weights.dt_bias),
                outputs=2,
                domain=MICROSOFT,
                gate_activation="softplus",
                beta_activation="sigmoid",
                qk_l2_norm=1,
                update_rule="gated_delta",
            )
            return g.reshape(o, 0, 0, sizes.value_width), present
        qk, v = g.split(qkv, 2 * sizes.key_width, sizes.value_width)
        # l2norm(x) = x·rsqrt(Σx² + ε) = rms_norm(x; ε/d)·d^-½: one kernel for all heads of q and k.
        unit = g.op(
            "RMSNormalization",
            g.reshape(qk, 0, 0, 2 * sizes.key_heads, sizes.key_dim),
            g.constant(np.full(sizes.key_dim, sizes.key_dim**-0.5, np.float32)),
            axis=-1,
            epsilon=_L2_EPSILON / sizes.key_dim,
        )
        q, k = g.split(g.reshape(unit, 0, 0, 2 * sizes.key_width), sizes.key_width, sizes.key_width)
        decay, beta = g.ops(
            "LinearAttentionGate",
            a,
            g.weight("dt_bias", weights.dt_bias),
            g.weight("decay_scale", -np.exp(weights.a_log)),
            b,
            outputs=2,
            domain=MICROSOFT,
        )
        o, present = g.ops(
            "LinearAttention",
            q,
            k,
            v,
            state,
            decay,
            beta,
            outputs=2,
            domain=MICROSOFT,
            q_num_heads=sizes.key_heads,
            kv_num_heads=sizes.value_heads,
            update_rule="gated_delta",
        )
        return o, present

    def rotary(self, g: GraphBuilder, x: str, angles: Angles, heads: int, head_dim: int) -> str:
        """The standard operator takes angles of each row and token as they come from the host."""
        return g.op(
            "RotaryEmbedding", x, angles.cos, angles.sin, num_heads=heads, rotary_embedding_dim=angles.dim
        )

    def cache_context(
        self, g: GraphBuilder, input_ids: str, past_length: str, cache: KeyValueCache
    ) -> tuple[str, ...]:
        """(last cache index of each row, longest row, new tokens of each row), as int32.

        Without the third, GroupQueryAttention refuses several rows that go on by more than one token. It came
        with ONNX Runtime 1.32, and there is no CUDA build of that yet: a CUDA graph has to do without.
        """
        tokens = g.op("Shape", input_ids, start=1, end=2)
        total = g.op("Add", past_length, tokens)
        last = g.cast(g.op("Sub", total, g.integers(1)), "int32")
        longest = g.cast(g.op("ReduceMax", total, keepdims=0), "int32")
        if self._for_cuda:
            return last, longest
        return last, longest, g.op("Expand", g.cast(tokens, "int32"), g.op("Shape", past_length))

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
        """GroupQueryAttention: the new keys and values are written into the cache of fixed capacity."""
        last, longest, *new = context
        rest = (*_LEFT_OUT, *new) if new else ()
        o, key, value = g.ops(
            "GroupQueryAttention",
            q,
            k,
            v,
            cache.key,
            cache.value,
            last,
            longest,
            *rest,
            outputs=3,
            domain=MICROSOFT,
            num_heads=layout.heads,
            kv_num_heads=layout.kv_heads,
        )
        return o, key, value

    def picture_attention(self, g: GraphBuilder, q: str, k: str, v: str, heads: int, head_dim: int) -> str:
        """MultiHeadAttention takes heads side by side: no transposes."""
        return g.op("MultiHeadAttention", q, k, v, domain=MICROSOFT, num_heads=heads)

    def experts(
        self, g: GraphBuilder, x: str, router_logits: str, weights: ExpertWeights, chosen: int, name: str
    ) -> str:
        """MoE, or QMoE; their form is measured on the first, the middle and the last expert."""
        some = sorted({0, weights.count // 2, weights.count - 1})
        parts = [part[:_SAMPLED_ROWS] for i in some for part in (*weights.gate_up(i), weights.down(i))]
        form = self.weights.experts(
            "/".join((*g.place, name)), parts, (weights.hidden, weights.inner), weights.count * weights.inner
        )
        return stored.experts(g, x, router_logits, weights, chosen, form, name)
