"""The mixture of experts against the modules that transformers runs for Qwen3.5's MoE models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mixture import Experts, Form, few_tokens, many_tokens, naive_mixture
from on_host import assert_close, need_compiler

from lineside.plugins.moe.naive import route

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.parity

COUNT, CHOSEN, WIDTH, INNER, TOKENS = 16, 4, 96, 64, 70
FORM = Form(name="float16", activation="float16")


@pytest.fixture(scope="module")
def block() -> Any:
    """A sparse block with drawn weights, its experts' 16-bit ones."""
    from transformers import Qwen3_5MoeTextConfig
    from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeSparseMoeBlock

    config = Qwen3_5MoeTextConfig(
        hidden_size=WIDTH,
        num_experts=COUNT,
        num_experts_per_tok=CHOSEN,
        moe_intermediate_size=INNER,
        shared_expert_intermediate_size=INNER,
    )
    torch.manual_seed(0)
    made = Qwen3_5MoeSparseMoeBlock(config).float().eval()
    with torch.no_grad():
        made.gate.weight.normal_(0, 0.3)
        for weight in (made.experts.gate_up_proj, made.experts.down_proj):
            weight.normal_(0, weight.shape[-1] ** -0.5)
            weight.copy_(weight.half().float())
    return made


def test_routing_and_experts_are_those_of_transformers(block: Any) -> None:
    need_compiler()
    x = np.random.default_rng(2).standard_normal((TOKENS, WIDTH), np.float32).astype(np.float16)
    with torch.no_grad():
        logits, scores, chosen = block.gate(torch.from_numpy(x.astype(np.float32)))
        want = block.experts(torch.from_numpy(x.astype(np.float32)), chosen, scores).numpy()
    gate_up, down = (
        weight.detach().numpy().astype(np.float16)
        for weight in (block.experts.gate_up_proj, block.experts.down_proj)
    )
    # Checkpoints have all gates before all ups; bundles and kernels have them in turn.
    in_turn = gate_up.reshape(COUNT, 2, INNER, WIDTH).swapaxes(1, 2)
    experts = Experts(FORM, COUNT, {"gate_up": in_turn}, {"down": down})

    numbers, weights = route(logits.numpy(), CHOSEN)
    assert (numbers == chosen.numpy()).all()
    assert_close(weights, scores.numpy(), 1e-6, "weights")
    assert_close(naive_mixture(experts, x, logits.numpy(), CHOSEN), want, 1e-5, "the reference")
    few = few_tokens(experts, x[:5], logits.numpy()[:5], CHOSEN)
    assert_close(few, want[:5], experts.tolerance, "pair by pair")
    assert_close(many_tokens(experts, x, logits.numpy(), CHOSEN), want, experts.tolerance, "grouped")
