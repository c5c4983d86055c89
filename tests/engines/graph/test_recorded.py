"""The graphs against what transformers answered when it was recorded: prefill and 32 greedy tokens.

Both families, one and two value heads a key head, tied and untied heads; text, one picture, several, a clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_runner import GraphRunner, relative_error
from qwen_cases import DECODE_STEPS, MODELS, PROMPT_KINDS, Model, PromptKind, prompt_of

LIMIT = 2e-3
RECORDED = Path(__file__).resolve().parents[1] / "reference" / "recorded.npz"


@pytest.fixture(scope="module")
def recorded() -> Iterator[Mapping[str, np.ndarray[Any, Any]]]:
    with np.load(RECORDED) as file:
        yield file


def _check(runner: GraphRunner, recorded: Mapping[str, Any], model: Model, kind: PromptKind) -> None:
    name = f"{model.name}/{kind}"
    found = runner.greedy(prompt_of(kind), DECODE_STEPS)
    assert found.tokens == tuple(recorded[f"{name}/tokens"])
    assert relative_error(found.prefill, recorded[f"{name}/prefill"]) < LIMIT
    assert relative_error(found.steps, recorded[f"{name}/steps"]) < LIMIT


@pytest.mark.parametrize("kind", PROMPT_KINDS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("dialect", ["onnxruntime", "plain"])
def test_logits_and_greedy_tokens_equal_the_recording(
    runner_of: Any, recorded: Mapping[str, Any], dialect: str, model: Model, kind: PromptKind
) -> None:
    _check(runner_of(model, dialect), recorded, model, kind)


@pytest.mark.parametrize("kind", PROMPT_KINDS)
@pytest.mark.parametrize("ratio", [1, 2])
def test_the_operator_for_cuda_gives_the_same(
    runner_of: Any, recorded: Mapping[str, Any], ratio: int, kind: PromptKind
) -> None:
    model = Model("moe", ratio, tied=False)
    _check(runner_of(model, "onnxruntime", "gated_delta_net"), recorded, model, kind)


def test_the_recorded_tokens_are_worth_comparing(recorded: Mapping[str, Any]) -> None:
    """A model that repeats one token, or a recording cut short, would prove nothing."""
    for model in MODELS:
        for kind in PROMPT_KINDS:
            tokens = recorded[f"{model.name}/{kind}/tokens"]
            assert len(tokens) == DECODE_STEPS + 1
            assert len(set(tokens.tolist())) > 10
