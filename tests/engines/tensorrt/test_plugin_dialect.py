"""Graphs with our kernels as nodes: with each kernel's reference in its place they say what others say."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorrt_stand_in
from graph_runner import GraphRunner, relative_error
from imagined_weights import PAIR_OF_2B
from onnx import helper
from qwen_cases import Model, config_of, random_tensor, tensor_shapes
from rounded_tensors import RoundedTensors
from safetensors.numpy import save_file
from tensorrt_graphs import Speech, TensorRtRunner

import lineside.engines.demo
from lineside.engines.build import Storage, build_graphs
from lineside.engines.bundle import open_bundle
from lineside.engines.config import MoeConfig, parse_config
from lineside.engines.graph.dialects.tensorrt_plugins import TensorRtPluginDialect, refusal
from lineside.engines.graph.fed import OURS
from lineside.engines.tensorrt import plugins
from lineside.engines.tensorrt.describe import decoder_graph
from lineside.engines.tensorrt.library import LibraryMissing
from lineside.engines.tensorrt.plugins import define_plugins, kernels_for, plugin_sizes
from lineside.engines.tensorrt.stored_graph import StoredGraph
from lineside.engines.weights import open_checkpoint
from lineside.plugins.ptx.nvrtc import NvrtcMissing

DEMO = Path(lineside.engines.demo.__file__).parent / "demo.lsengine"
SPEECH = Speech(TensorRtPluginDialect(call="step"), TensorRtPluginDialect(call="prefill"))
MODELS = (Model("dense", 2, tied=True), Model("moe", 1, tied=False))
# float16 throughout, over five layers of random weights.
TOLERANCE = 2e-2


def checkpoint_with_our_heads(model: Model, folder: Path) -> Path:
    """A reference model whose sizes our kernels take: heads of 32, widths that are whole blocks of 4 bits."""
    folder.mkdir(parents=True)
    config = config_of(model)
    config["text_config"] |= {"linear_key_head_dim": 32, "linear_value_head_dim": 32, "hidden_size": 64}
    config["text_config"] |= (
        {"intermediate_size": 96} if model.family == "dense" else {"moe_intermediate_size": 32}
    )
    config["vision_config"]["out_hidden_size"] = 64
    tensors = {name: random_tensor(name, shape, 3) for name, shape in tensor_shapes(config).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("precision", ["fp32", "int4"])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_nodes_take_and_give_what_kernels_do(model: Model, precision: str, tmp_path: Path) -> None:
    """Types, layouts, order of arguments: a prefill over several chunks, then steps, side by side."""
    checkpoint = checkpoint_with_our_heads(model, tmp_path / "checkpoint")
    files = build_graphs(checkpoint, tmp_path / "stored", storage=Storage(precision))  # type: ignore[arg-type]
    tensors = RoundedTensors(open_checkpoint(checkpoint), files.choices)
    plain = GraphRunner(build_graphs(checkpoint, tmp_path / "plain", "plain", tensors=tensors))
    runner = TensorRtRunner(GraphRunner(files), SPEECH)
    prompts = [[(7 * i + j) % 100 for i in range(70)] for j in (1, 5)]
    part = plain.text_part(prompts, [0, 0])
    wanted, reference = plain.step(part, [0, 0], plain.empty_states(2), [69])
    logits, states = runner.call(part, [0, 0], runner.empty_states(2))
    assert relative_error(logits, wanted[:, 0]) < TOLERANCE
    for i in range(3):
        text = plain.text_part([[11 + i], [40 + i]], [70 + i, 70 + i])
        wanted, reference = plain.step(text, [70 + i, 70 + i], reference)
        logits, states = runner.call(text, [70 + i, 70 + i], states)
        assert relative_error(logits, wanted[:, 0]) < TOLERANCE
    operators = {name.partition("_")[0] for name in _operators(runner)}
    wanted_operators = {"gated"} | ({"moe"} if model.family == "moe" else set())
    assert operators == wanted_operators | ({"gemv", "gemm"} if precision == "int4" else set())


def _operators(runner: TensorRtRunner) -> set[str]:
    return {
        node.op_type
        for graph in runner.graphs.values()
        for node in graph.model().graph.node
        if node.domain == OURS
    }


def test_every_node_names_a_kernel_and_a_variant_that_there_are(tmp_path: Path) -> None:
    checkpoint = checkpoint_with_our_heads(MODELS[1], tmp_path / "checkpoint")
    files = build_graphs(checkpoint, tmp_path / "stored", storage=Storage("int4"))
    kernels = {one.name: one for one in kernels_for(plugin_sizes(files.config.text))}
    for dialect in (SPEECH.step, SPEECH.prefill):
        graph = decoder_graph(dialect, StoredGraph(files.decoder), None, files.config.text, 32)
        nodes = [node for node in graph.model().graph.node if node.domain == OURS]
        assert nodes
        for node in nodes:
            said = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            kernel = kernels[node.op_type]
            assert (len(node.input), len(node.output)) == (len(kernel.inputs), len(kernel.outputs))
            assert said["variant"].decode() in {one.name for one in kernel.variants}
            assert (said["plugin_namespace"], said["plugin_version"], said["aot"]) == (b"lineside", b"1", 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"linear": replace(PAIR_OF_2B.linear, key_dim=64)}, "heads of 64 and 128"),
        ({"linear": replace(PAIR_OF_2B.linear, conv_kernel=3)}, "3 tokens"),
        ({"rms_eps": 1e-5}, "epsilon"),
        ({"mlp": MoeConfig(2048, 8, 512, 512)}, "2048 experts"),
    ],
)
def test_what_kernels_do_not_take_is_known_beforehand(change: dict[str, Any], named: str) -> None:
    """Such a model is said in basic operators instead."""
    assert refusal(PAIR_OF_2B) is None
    assert named in (refusal(replace(PAIR_OF_2B, **change)) or "")


def test_kernels_are_defined_for_a_models_own_sizes() -> None:
    """Heads of 32 and routing among four, as the demo engine has them, through NVIDIA's own plugin layer."""
    if tensorrt_stand_in.plugin_layer() is None:
        pytest.skip("the wheel tensorrt-cu13-bindings is not installed: TensorRT's plugin layer is not tried")
    text = parse_config(peek("config.json")).text
    kernels = kernels_for(plugin_sizes(text))
    (route,) = (one for one in kernels if one.name == "moe_route")
    (decode,) = (one for one in kernels if one.name == "gated_delta_net_decode")
    assert [one.name for one in route.variants] == ["2-of-4"]
    assert {one.macros["HEAD"] for one in decode.variants} == {"32"}
    with tensorrt_stand_in.installed() as plugin:
        define_plugins(plugin_sizes(text), 87)
        assert all(hasattr(plugin.op.lineside, one.name) for one in kernels)


def test_without_a_compiler_of_kernels_one_is_told_before_tensorrt_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> None:
        raise NvrtcMissing("NVRTC is not installed")

    monkeypatch.setattr(plugins, "nvrtc", missing)
    with pytest.raises(LibraryMissing, match="NVRTC is not installed"):
        define_plugins(plugin_sizes(PAIR_OF_2B), 87)


def peek(name: str) -> Any:
    """A JSON file of the demo engine."""
    with tempfile.TemporaryDirectory() as place:
        return open_bundle(DEMO, Path(place)).json(name)
