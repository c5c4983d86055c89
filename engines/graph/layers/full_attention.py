"""The full-attention mixer: normed queries and keys, partial rotary, cache, and an output gate.

Knows the checkpoint's names and layouts; how the operators are said is the dialect's.
"""

from __future__ import annotations

import numpy as np

from lineside.engines.config import TextConfig
from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects.base import Angles, Dialect, HeadLayout, KeyValueCache
from lineside.engines.graph.layers.norms import zero_centred_scale
from lineside.engines.graph.layers.projections import project
from lineside.engines.graph.matrix import stack, stored
from lineside.engines.weights import TensorSource


def full_attention(
    g: GraphBuilder,
    dialect: Dialect,
    checkpoint: TensorSource,
    config: TextConfig,
    prefix: str,
    x: str,
    angles: Angles,
    cache: KeyValueCache,
    context: tuple[str, ...],
) -> tuple[str, str, str]:
    """x [B, T, H] → (y [B, T, H], present keys, present values)."""
    name = f"{prefix}.self_attn"
    dim, heads, kv_heads = config.head_dim, config.heads, config.kv_heads
    q_width, kv_width, hidden = heads * dim, kv_heads * dim, config.hidden
    # Each query head is stored with its output gate behind it. Sorted here into all queries and all gates,
    # and laid beside keys and values, so that one product gives all and queries and keys are neighbours.
    paired = stored(checkpoint, f"{name}.q_proj.weight", (2 * q_width, hidden))
    queries, gates = (
        [paired.cut(start, start + dim) for start in range(first, 2 * q_width, 2 * dim)] for first in (0, dim)
    )
    keys, values = (
        stored(checkpoint, f"{name}.{part}_proj.weight", (kv_width, hidden)) for part in ("k", "v")
    )
    qk, v, gate = project(g, dialect, x, [stack(*queries, keys), values, stack(*gates)])
    both = heads + kv_heads
    unit = dialect.rms_norm(
        g, g.reshape(qk, 0, 0, both, dim), np.ones(dim, np.float32), config.rms_eps, "unit"
    )
    scales = np.concatenate(
        [
            np.tile(zero_centred_scale(checkpoint, f"{name}.{part}_norm", dim), (n, 1))
            for part, n in (("q", heads), ("k", kv_heads))
        ]
    )
    normed = g.reshape(g.op("Mul", unit, g.weight("qk_norm", scales)), 0, 0, both * dim)
    q, k = g.split(dialect.rotary(g, normed, angles, both, dim), q_width, kv_width)
    o, present_keys, present_values = dialect.gqa_attention(
        g, q, k, v, cache, context, HeadLayout(heads, kv_heads, dim)
    )
    gated = g.op("Mul", o, g.op("Sigmoid", gate))
    out = stored(checkpoint, f"{name}.o_proj.weight", (hidden, q_width))
    return dialect.matmul(g, gated, out, "out_proj"), present_keys, present_values
