"""The dense SwiGLU MLP. Knows the checkpoint's names; how a product is said is the dialect's."""

from __future__ import annotations

from lineside.engines.config import DenseMlpConfig
from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects.base import Dialect
from lineside.engines.graph.layers.projections import project
from lineside.engines.graph.matrix import stored
from lineside.engines.weights import TensorSource


def mlp(
    g: GraphBuilder,
    dialect: Dialect,
    checkpoint: TensorSource,
    config: DenseMlpConfig,
    hidden: int,
    prefix: str,
    x: str,
) -> str:
    """down(silu(gate(x))·up(x)), x and the result [B, T, H]."""
    inner = config.intermediate
    parts = [
        stored(checkpoint, f"{prefix}.mlp.{part}_proj.weight", (inner, hidden)) for part in ("gate", "up")
    ]
    gate, up = project(g, dialect, x, parts)
    down = stored(checkpoint, f"{prefix}.mlp.down_proj.weight", (hidden, inner))
    return dialect.matmul(g, swiglu(g, gate, up), down, "down")


def swiglu(g: GraphBuilder, gate: str, up: str) -> str:
    """silu(gate)·up."""
    return g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), up)
