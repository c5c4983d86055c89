"""The graphs against transformers itself, run side by side: prefill and greedy decoding of every case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from graph_runner import GraphRunner, relative_error
from qwen_cases import DECODE_STEPS, MODELS, PROMPT_KINDS, Model, prompt_of, write_checkpoint

from lineside.engines.build import build_graphs

pytestmark = pytest.mark.parity
pytest.importorskip("torch", reason="torch is not installed: make parity installs it")
pytest.importorskip("transformers", reason="transformers is not installed: make parity installs it")

LIMIT = 2e-3
SPEECHES = [
    ("onnxruntime", "linear_attention"),
    ("onnxruntime", "gated_delta_net"),
    ("plain", "linear_attention"),
]


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.name)
def checked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    from transformers_oracle import load_oracle

    model: Model = request.param
    folder = write_checkpoint(model, tmp_path_factory.mktemp(model.name))
    return folder, load_oracle(model, folder)


@pytest.mark.filterwarnings("ignore:::torch", "ignore:::transformers")
@pytest.mark.parametrize(("dialect", "operator"), SPEECHES)
def test_logits_and_greedy_tokens_equal_transformers(
    checked: tuple[Path, Any], dialect: Any, operator: Any, tmp_path: Path
) -> None:
    from transformers_oracle import oracle_greedy

    folder, oracle = checked
    runner = GraphRunner(build_graphs(folder, tmp_path, dialect, operator))
    for kind in PROMPT_KINDS:
        prompt = prompt_of(kind)
        wanted = oracle_greedy(oracle, prompt, DECODE_STEPS)
        found = runner.greedy(prompt, DECODE_STEPS)
        assert found.tokens == wanted.tokens, kind
        assert relative_error(found.prefill, wanted.prefill) < LIMIT, kind
        assert relative_error(found.steps, wanted.steps) < LIMIT, kind
