"""LoRA adapters: merged exactly, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qwen_cases import Model, config_of, write_checkpoint
from safetensors.numpy import load_file, save_file

from lineside.engines.adapters import open_adapter
from lineside.engines.build import build_graphs
from lineside.engines.errors import UnsupportedModel
from lineside.engines.weights import open_checkpoint

RANK, ALPHA = 3, 12
Q = "model.language_model.layers.1.self_attn.q_proj"
FC = "model.visual.blocks.0.mlp.linear_fc1"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(Model("dense", 2, tied=True), tmp_path_factory.mktemp("base"))


def _adapter(checkpoint: Path, folder: Path, layers: tuple[str, ...] = (Q, FC), **settings: Any) -> Path:
    folder.mkdir()
    shapes = {name: tensor.shape for name, tensor in load_file(checkpoint / "model.safetensors").items()}
    rng = np.random.default_rng(0)
    tensors = {}
    for layer in layers:
        out, width = shapes.get(f"{layer}.weight", (8, 8))
        tensors[f"base_model.model.{layer}.lora_A.weight"] = rng.standard_normal((RANK, width), np.float32)
        tensors[f"base_model.model.{layer}.lora_B.weight"] = rng.standard_normal((out, RANK), np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", **settings})
    )
    return folder


def _merged(checkpoint: Path, adapter: Path, scale: float) -> dict[str, np.ndarray[Any, Any]]:
    """The checkpoint's tensors with the adapter added, the plain way."""
    tensors = load_file(checkpoint / "model.safetensors")
    parts = load_file(adapter / "adapter_model.safetensors")
    for name in list(parts):
        if name.endswith(".lora_A.weight"):
            layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            up = parts[name.replace("lora_A", "lora_B")]
            tensors[f"{layer}.weight"] = tensors[f"{layer}.weight"] + scale * (up @ parts[name])
    return tensors


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, ALPHA / RANK),
        ({"use_rslora": True}, ALPHA / RANK**0.5),
        ({"alpha_pattern": {"self_attn.q_proj": 30, "linear_fc1": 30}}, 30 / RANK),
    ],
)
def test_a_merged_build_is_the_build_of_the_merged_weights(
    checkpoint: Path, tmp_path: Path, settings: dict[str, Any], scale: float
) -> None:
    adapter = _adapter(checkpoint, tmp_path / "adapter", **settings)
    whole = tmp_path / "whole"
    whole.mkdir()
    save_file(_merged(checkpoint, adapter, scale), whole / "model.safetensors")
    wanted, found = open_checkpoint(whole), open_adapter(adapter, open_checkpoint(checkpoint))
    assert found.merged == {"layers.1.self_attn.q_proj.weight", "visual.blocks.0.mlp.linear_fc1.weight"}
    shape = wanted.shape("layers.1.self_attn.q_proj.weight")
    for start, stop in ((0, shape[0]), (5, 9)):
        np.testing.assert_allclose(
            found.rows("layers.1.self_attn.q_proj.weight", shape, start, stop),
            wanted.rows("layers.1.self_attn.q_proj.weight", shape, start, stop),
            rtol=1e-5,
            atol=1e-5,
        )
    (whole / "config.json").write_text(json.dumps(config_of(Model("dense", 2, tied=True))))
    built = build_graphs(checkpoint, tmp_path / "a", tensors=found)
    plain = build_graphs(checkpoint, tmp_path / "b")
    assert built.vision is not None
    assert plain.vision is not None
    assert built.decoder.read_bytes() != plain.decoder.read_bytes()
    assert built.vision.read_bytes() != plain.vision.read_bytes()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"lora_alpha": None}, "lora_alpha"),
    ],
)
def test_what_cannot_be_merged_exactly_is_refused(
    checkpoint: Path, tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    adapter = _adapter(checkpoint, tmp_path / "adapter", **settings)
    with pytest.raises(UnsupportedModel, match=says):
        open_adapter(adapter, open_checkpoint(checkpoint))


def test_an_adapter_of_another_model_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    other = _adapter(checkpoint, tmp_path / "other", ("model.language_model.layers.70.mlp.up_proj",))
    with pytest.raises(UnsupportedModel, match="belongs to another model"):
        open_adapter(other, open_checkpoint(checkpoint))
    wide = _adapter(checkpoint, tmp_path / "wide")
    parts = load_file(wide / "adapter_model.safetensors")
    parts[f"base_model.model.{Q}.lora_A.weight"] = np.zeros((RANK, 7), np.float32)
    save_file(parts, wide / "adapter_model.safetensors")
    with pytest.raises(UnsupportedModel, match="belongs to another model"):
        open_adapter(wide, open_checkpoint(checkpoint))


def test_half_an_adapter_and_none_at_all_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    half = _adapter(checkpoint, tmp_path / "half")
    parts = load_file(half / "adapter_model.safetensors")
    del parts[f"base_model.model.{Q}.lora_B.weight"]
    save_file(parts, half / "adapter_model.safetensors")
    with pytest.raises(UnsupportedModel, match="only one of lora_A and lora_B"):
        open_adapter(half, open_checkpoint(checkpoint))
    with pytest.raises(UnsupportedModel, match="adapter's folder"):
        open_adapter(tmp_path, open_checkpoint(checkpoint))
