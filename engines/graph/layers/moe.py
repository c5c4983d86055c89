"""The mixture of experts: routed experts beside a shared one with a sigmoid gate.

Knows both ways checkpoints store experts (stacked, or one by one); how experts are run is the dialect's.
"""

from __future__ import annotations

import numpy as np

from lineside.engines.config import MoeConfig
from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects.base import Dialect, ExpertWeights, Floats
from lineside.engines.graph.layers.mlp import swiglu
from lineside.engines.graph.layers.projections import project
from lineside.engines.graph.matrix import stored
from lineside.engines.weights import TensorSource


def moe(
    g: GraphBuilder,
    dialect: Dialect,
    checkpoint: TensorSource,
    config: MoeConfig,
    hidden: int,
    prefix: str,
    x: str,
) -> str:
    """Chosen experts of x plus sigmoid(gate)·shared expert, x and the result [B, T, H]."""
    name, shared = f"{prefix}.mlp", config.shared_intermediate
    gate_up = [
        stored(checkpoint, f"{name}.shared_expert.{part}_proj.weight", (shared, hidden))
        for part in ("gate", "up")
    ]
    # Which experts run hangs on the router's smallest differences: it is not rounded.
    routing = [
        stored(checkpoint, f"{name}.{part}.weight", (n, hidden))
        for part, n in (("gate", config.experts), ("shared_expert_gate", 1))
    ]
    shared_gate, shared_up, logits, gate = project(g, dialect, x, gate_up, routing)
    down = stored(checkpoint, f"{name}.shared_expert.down_proj.weight", (hidden, shared))
    everyone = dialect.matmul(g, swiglu(g, shared_gate, shared_up), down, "shared_down")
    chosen = dialect.experts(
        g, x, logits, _experts(checkpoint, config, hidden, name), config.experts_per_token, "experts"
    )
    return g.op("Add", chosen, g.op("Mul", everyone, g.op("Sigmoid", gate)))


def _experts(checkpoint: TensorSource, config: MoeConfig, hidden: int, name: str) -> ExpertWeights:
    inner, count = config.intermediate, config.experts
    stacked = f"{name}.experts.gate_up_proj" in checkpoint

    def gate_up(expert: int) -> tuple[Floats, Floats]:
        if stacked:
            shape = (count, 2 * inner, hidden)
            (both,) = checkpoint.rows(f"{name}.experts.gate_up_proj", shape, expert, expert + 1)
            return both[:inner], both[inner:]
        gate, up = (
            checkpoint.read(f"{name}.experts.{expert}.{part}_proj.weight", (inner, hidden))
            for part in ("gate", "up")
        )
        return gate, up

    def down(expert: int) -> Floats:
        if stacked:
            shape = (count, hidden, inner)
            (one,) = checkpoint.rows(f"{name}.experts.down_proj", shape, expert, expert + 1)
        else:
            one = checkpoint.read(f"{name}.experts.{expert}.down_proj.weight", (hidden, inner))
        return np.asarray(one)

    return ExpertWeights(count, inner, hidden, gate_up, down)
