"""The Gated DeltaNet mixer: projections, causal convolution, delta rule, gated norm.

Knows the checkpoint's names and the order of things; how the operators are said is the dialect's.
"""

from __future__ import annotations

from lineside.engines.config import TextConfig
from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects.base import DeltaNetWeights, Dialect
from lineside.engines.graph.layers.projections import project
from lineside.engines.graph.matrix import stored
from lineside.engines.weights import TensorSource


def linear_attention(
    g: GraphBuilder,
    dialect: Dialect,
    checkpoint: TensorSource,
    config: TextConfig,
    prefix: str,
    x: str,
    conv_state: str,
    recurrent_state: str,
) -> tuple[str, str, str]:
    """x [B, T, H] → (y [B, T, H], present convolution state, present recurrent state)."""
    sizes = config.linear
    name = f"{prefix}.linear_attn"
    rows = {
        "qkv": sizes.conv_channels,
        "z": sizes.value_width,
        "a": sizes.value_heads,
        "b": sizes.value_heads,
    }
    parts = [
        stored(checkpoint, f"{name}.in_proj_{part}.weight", (n, config.hidden)) for part, n in rows.items()
    ]
    # The gates a and b decide how fast a state fades, over thousands of tokens: they are not rounded.
    qkv, z, a, b = project(g, dialect, x, parts[:2], parts[2:])
    kernel = checkpoint.read(f"{name}.conv1d.weight", (sizes.conv_channels, 1, sizes.conv_kernel))
    qkv, present_conv = dialect.causal_conv(g, qkv, kernel, conv_state, "conv")
    gates = DeltaNetWeights(
        a_log=checkpoint.read(f"{name}.A_log", (sizes.value_heads,)),
        dt_bias=checkpoint.read(f"{name}.dt_bias", (sizes.value_heads,)),
    )
    o, present_recurrent = dialect.gated_delta_net(g, qkv, a, b, recurrent_state, gates, sizes)
    # This one norm is stored as it is, not around zero.
    scale = checkpoint.read(f"{name}.norm.weight", (sizes.value_dim,))
    o = dialect.gated_rms_norm(g, o, z, scale, config.rms_eps, "norm")
    out = stored(checkpoint, f"{name}.out_proj.weight", (config.hidden, sizes.value_width))
    return dialect.matmul(g, o, out, "out_proj"), present_conv, present_recurrent
