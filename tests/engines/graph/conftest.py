"""Built graphs of the small reference models, made once a run and shared by the tests here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from graph_runner import GraphRunner
from qwen_cases import Model, write_checkpoint

from lineside.engines.build import build_graphs

RunnerOf = Callable[..., GraphRunner]


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Model], Path]:
    """The checkpoint folder of a reference model."""
    made: dict[Model, Path] = {}

    def find(model: Model) -> Path:
        if model not in made:
            made[model] = write_checkpoint(model, tmp_path_factory.mktemp(model.name))
        return made[model]

    return find


@pytest.fixture(scope="session")
def runner_of(checkpoint_of: Callable[[Model], Path], tmp_path_factory: pytest.TempPathFactory) -> RunnerOf:
    """A running pair of graphs: `runner_of(model, dialect, operator)`."""
    made: dict[tuple[Any, ...], GraphRunner] = {}

    def find(model: Model, dialect: Any = "onnxruntime", operator: Any = "linear_attention") -> GraphRunner:
        key = (model, dialect, operator)
        if key not in made:
            out = tmp_path_factory.mktemp("graphs")
            made[key] = GraphRunner(build_graphs(checkpoint_of(model), out, dialect, operator))
        return made[key]

    return find
