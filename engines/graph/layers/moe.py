"""The mixture of experts: routed experts beside a shared one with a sigmoid gate.

Knows both ways checkpoints store experts (stacked, or one by one); how experts are run is the dialect's.
"""

from __future__ import annotations

import numpy as np

from lineside.engines.config import MoeConfig
from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects.base import Dialect, ExpertWeights
from lineside.engines.graph.layers.mlp import swiglu
from lineside.engines.weights import Checkpoint


def moe(
    g: GraphBuilder,
    dialect: Dialect,
    checkpoint: Checkpoint,
    config: MoeConfig,
    hidden: int,
    prefix: str,
    x: str,
) -> str:
    """Chosen experts of x plus sigmoid(gate)·shared expert, x and the result [B, T, H]."""
    name, shared = f"{prefix}.mlp", config.shared_intermediate
    rows = {
        "gate": config.experts,
        "shared_expert_gate": 1,
        "shared_expert.gate_proj": shared,
        "shared_expert.up_proj": shared,
    }
    # Router, gate and shared expert look at the same x: one product.
    fused = np.concatenate(
        [checkpoint.read(f"{name}.{part}.weight", (n, hidden)) for part, n in rows.items()]
    )
    logits, gate, shared_gate, shared_up = g.split(dialect.matmul(g, x, fused, "in_proj"), *rows.values())
    down = checkpoint.read(f"{name}.shared_expert.down_proj.weight", (hidden, shared))
    everyone = dialect.matmul(g, swiglu(g, shared_gate, shared_up), down, "shared_down")
    chosen = dialect.experts(
        g, x, logits, _experts(checkpoint, config, hidden, name), config.experts_per_token, "experts"
    )
    return g.op("Add", chosen, g.op("Mul", everyone, g.op("Sigmoid", gate)))


def _experts(checkpoint: Checkpoint, config: MoeConfig, hidden: int, name: str) -> ExpertWeights:
    inner, count = config.intermediate, config.experts
    if f"{name}.experts.gate_up_proj" in checkpoint:
        gate_up = checkpoint.read(f"{name}.experts.gate_up_proj", (count, 2 * inner, hidden))
        down = checkpoint.read(f"{name}.experts.down_proj", (count, hidden, inner))
        return ExpertWeights(gate=gate_up[:, :inner], up=gate_up[:, inner:], down=down)
    shapes = {"gate": (inner, hidden), "up": (inner, hidden), "down": (hidden, inner)}
    stacked = {part: np.empty((count, *shape), np.float32) for part, shape in shapes.items()}
    for expert in range(count):
        for part, shape in shapes.items():
            stacked[part][expert] = checkpoint.read(f"{name}.experts.{expert}.{part}_proj.weight", shape)
    return ExpertWeights(**stacked)
