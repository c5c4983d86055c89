"""What is written: the contract's names and shapes, each dialect's operators, weights, bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graph_runner import GraphRunner
from qwen_cases import MODELS, Model, prompt_of, tensor_shapes, write_checkpoint
from safetensors.numpy import load_file, save_file

from lineside.engines.build import GraphFiles, build_bundle, build_graphs, choose_dialect
from lineside.engines.bundle import open_bundle
from lineside.engines.errors import UnsupportedModel

MODEL = Model("moe", 2, tied=False)
DIALECTS = ["onnxruntime", "plain"]


def _shapes(values: Any) -> dict[str, list[int | str]]:
    return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_names_and_shapes_are_the_contracts(runner_of: Any, model: Model, dialect: str) -> None:
    files = runner_of(model, dialect).files
    decoder, vision = onnx.load(files.decoder).graph, onnx.load(files.vision).graph
    values = 2 * model.ratio
    conv: list[int | str] = ["B", 3, 2 * 2 * 16 + values * 24]
    states: dict[str, list[int | str]] = {}
    for i in (0, 2, 3):
        states |= {f"{i}.conv": conv, f"{i}.recurrent": ["B", values, 16, 24]}
    caches = {f"{i}.{part}": ["B", 2, "S", 16] for i in (1, 4) for part in ("key", "value")}
    assert _shapes(decoder.input) == {
        "input_ids": ["B", "T"],
        "image_embeds": ["N", 48],
        "image_index": ["B", "T"],
        "rope_cos": ["B", "T", 4],
        "rope_sin": ["B", "T", 4],
        "past_length": ["B"],
        "logit_positions": ["K"],
        **{f"past.{name}": shape for name, shape in (states | caches).items()},
    }
    longer = "S" if dialect == "onnxruntime" else "S_T"
    assert _shapes(decoder.output) == {
        "logits": ["B", "K", 128],
        **{f"present.{name}": shape for name, shape in states.items()},
        **{f"present.{name}": ["B", 2, longer, 16] for name in caches},
    }
    assert _shapes(vision.input) == {
        "pixel_values": ["B", "P", 96],
        "position_index": [4, "P"],
        "position_weight": [4, "P"],
        "rope_cos": ["P", 16],
        "rope_sin": ["P", 16],
    }
    assert _shapes(vision.output) == {"image_embeds": ["B", "M", 48]}


def test_the_plain_dialect_is_basic_and_valid_onnx(runner_of: Any) -> None:
    files: GraphFiles = runner_of(MODEL, "plain").files
    for path in (files.decoder, files.vision):
        assert path is not None
        onnx.checker.check_model(str(path), full_check=True)
        graph = onnx.load(path).graph
        assert {node.domain for node in graph.node} == {""}
        kinds = {node.op_type for node in graph.node}
        assert not kinds & {"Attention", "RotaryEmbedding", "RMSNormalization", "LinearAttention"}


def test_each_operator_for_the_delta_rule_is_used_where_asked(runner_of: Any) -> None:
    for operator, kind, layout in (
        ("linear_attention", "LinearAttention", "KV"),
        ("gated_delta_net", "GatedDeltaNet", "VK"),
    ):
        files: GraphFiles = runner_of(MODEL, "onnxruntime", operator).files
        kinds = [node.op_type for node in onnx.load(files.decoder).graph.node]
        assert kinds.count(kind) == 3
        assert files.recurrent_layout == layout


def test_the_state_of_gated_delta_net_is_value_major(runner_of: Any) -> None:
    files: GraphFiles = runner_of(MODEL, "onnxruntime", "gated_delta_net").files
    shapes = _shapes(onnx.load(files.decoder).graph.input)
    assert shapes["past.0.recurrent"] == ["B", 4, 24, 16]


def test_a_tied_head_is_stored_once(runner_of: Any) -> None:
    table = 128 * 48
    for tied, copies in ((True, 1), (False, 2)):
        files: GraphFiles = runner_of(Model("dense", 1, tied=tied)).files
        sizes = [int(np.prod(i.dims)) for i in onnx.load(files.decoder).graph.initializer]
        assert sizes.count(table) == copies


@pytest.mark.parametrize("dialect", DIALECTS)
def test_weights_beside_the_graph_give_the_same_answers(
    checkpoint_of: Any, runner_of: Any, tmp_path: Path, dialect: Any
) -> None:
    files = build_graphs(checkpoint_of(MODEL), tmp_path, dialect, external_above_bytes=0)
    assert {path.name for path in files.weights} == {"decoder.onnx.data", "vision.onnx.data"}
    assert all(path.stat().st_size > path.with_suffix("").stat().st_size for path in files.weights)
    prompt = prompt_of("image")
    found, wanted = GraphRunner(files).greedy(prompt, 3), runner_of(MODEL, dialect).greedy(prompt, 3)
    assert found.tokens == wanted.tokens
    np.testing.assert_array_equal(found.prefill, wanted.prefill)


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint_of: Any, tmp_path: Path) -> None:
    first, second = (build_graphs(checkpoint_of(MODEL), tmp_path / name) for name in ("a", "b"))
    assert first.decoder.read_bytes() == second.decoder.read_bytes()
    assert first.vision is not None
    assert second.vision is not None
    assert first.vision.read_bytes() == second.vision.read_bytes()


def test_stacked_experts_and_single_ones_give_the_same_graph(checkpoint_of: Any, tmp_path: Path) -> None:
    """Published checkpoints stack them, transformers saves them one by one."""
    single = checkpoint_of(MODEL)
    tensors = load_file(single / "model.safetensors")
    stacked = {name: value for name, value in tensors.items() if ".experts." not in name}
    for layer in range(5):
        name = f"model.language_model.layers.{layer}.mlp.experts"
        parts = {
            part: np.stack([tensors[f"{name}.{e}.{part}_proj.weight"] for e in range(6)])
            for part in ("gate", "up", "down")
        }
        stacked[f"{name}.gate_up_proj"] = np.concatenate([parts["gate"], parts["up"]], axis=1)
        stacked[f"{name}.down_proj"] = parts["down"]
    folder = tmp_path / "stacked"
    folder.mkdir()
    save_file(stacked, folder / "model.safetensors")
    (folder / "config.json").write_bytes((single / "config.json").read_bytes())
    built = build_graphs(folder, tmp_path / "graphs").decoder
    assert built.read_bytes() == build_graphs(single, tmp_path / "single").decoder.read_bytes()


def test_every_tensor_of_the_checkpoint_is_needed(checkpoint_of: Any, tmp_path: Path) -> None:
    """A tensor that could be left out unnoticed would not be part of the graph."""
    source = checkpoint_of(Model("dense", 1, tied=False))
    tensors = load_file(source / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    layer_of_each_kind = ("layers.0.", "layers.1.", "blocks.0.")
    for name in tensor_shapes(config):
        if any(part in name for part in ("layers.", "blocks.")) and not any(
            part in name for part in layer_of_each_kind
        ):
            continue
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        save_file({n: t for n, t in tensors.items() if n != name}, folder / "model.safetensors")
        with pytest.raises(UnsupportedModel, match="no tensor"):
            build_graphs(folder, folder)


def test_a_text_only_checkpoint_gives_a_decoder_alone(checkpoint_of: Any, tmp_path: Path) -> None:
    whole = checkpoint_of(Model("dense", 2, tied=True))
    config = json.loads((whole / "config.json").read_text())["text_config"]
    tensors = {
        name.replace("language_model.", ""): tensor
        for name, tensor in load_file(whole / "model.safetensors").items()
        if ".visual." not in name
    }
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    files = build_graphs(tmp_path, tmp_path / "graphs")
    assert files.vision is None
    assert not (tmp_path / "graphs" / "vision.onnx").exists()
    assert files.decoder.read_bytes() == build_graphs(whole, tmp_path / "whole").decoder.read_bytes()


def test_an_unknown_dialect_is_refused() -> None:
    unknown: Any = "tensorflow"
    with pytest.raises(UnsupportedModel, match="tensorflow"):
        choose_dialect(unknown, "linear_attention")


def _whole_checkpoint(folder: Path) -> Path:
    write_checkpoint(MODEL, folder)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "report.md").write_text("measured")
    return folder


FIELDS: dict[str, Any] = {
    "name": "small",
    "version": "1.0.0",
    "licence": "Apache-2.0",
    "source": {"model": "random", "revision": "seed 11"},
}


@pytest.mark.parametrize("out", ["engine", "engine.lsengine"])
def test_a_bundle_holds_all_an_engine_needs_and_says_so(tmp_path: Path, out: str) -> None:
    checkpoint = _whole_checkpoint(tmp_path / "checkpoint")
    digest = build_bundle(checkpoint, tmp_path / out, **FIELDS, context_tokens=256)
    bundle = open_bundle(tmp_path / out, tmp_path / "cache")
    assert bundle.manifest.digest == digest
    assert bundle.manifest.context_tokens == 256
    assert bundle.text("report.md") == "measured"
    assert bundle.text("chat_template.jinja") == "{{ messages }}"
    build = bundle.json("manifest.json")["builds"]["onnx"]
    assert build["dialect"] == "onnxruntime"
    assert build["recurrent_layout"] == "KV"
    assert build["inputs"]["decoder"]["past.1.key"] == ["B", 2, "S", 16]
    assert build["outputs"]["vision"]["image_embeds"] == ["B", "M", 48]
    for part in ("vision", "decoder"):
        onnx.load(bundle.path(build[part]))
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"checkpoint", out}


def test_the_template_of_an_older_checkpoint_is_found_inside_its_json(tmp_path: Path) -> None:
    checkpoint = _whole_checkpoint(tmp_path / "checkpoint")
    (checkpoint / "chat_template.jinja").unlink()
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({"chat_template": "older"}))
    build_bundle(checkpoint, tmp_path / "engine", **FIELDS)
    assert (tmp_path / "engine" / "chat_template.jinja").read_text() == "older"


@pytest.mark.parametrize(
    "missing", ["config.json", "tokenizer.json", "preprocessor_config.json", "chat_template.jinja"]
)
def test_a_checkpoint_without_what_an_engine_needs_makes_no_bundle(tmp_path: Path, missing: str) -> None:
    checkpoint = _whole_checkpoint(tmp_path / "checkpoint")
    (checkpoint / missing).unlink()
    with pytest.raises(UnsupportedModel, match=missing.split(".")[0]):
        build_bundle(checkpoint, tmp_path / "engine", **FIELDS)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
