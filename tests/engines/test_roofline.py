"""What a token costs by the graph, what the machine can do, and an engine's figures beside both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_engine
from click.testing import CliRunner, Result
from onnx import helper, numpy_helper

from lineside.engines.bench import BenchReport, bench_engine
from lineside.engines.bundle import open_bundle
from lineside.engines.commands import engine as commands
from lineside.engines.errors import IncompatibleBundle
from lineside.engines.manifest import OnnxBuild
from lineside.engines.roofline import Roofline, measure_roofline
from lineside.engines.traffic import Traffic, read_traffic

HIDDEN, WORDS, EXPERTS = 8, 20, 4
STATES = {
    "past.0.conv": ("B", 3, 10),
    "past.0.recurrent": ("B", 2, 4, 4),
    "past.1.key": ("B", 2, "S", 4),
    "past.1.value": ("B", 2, "S", 4),
}
BUILD = OnnxBuild(None, "decoder.onnx", "onnxruntime", "KV", STATES)


def tensor(name: str, kind: type, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.zeros(shape, kind), name)


def graph_of(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], folder: Path) -> Path:
    logits = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)
    ids = helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, None)
    graph = helper.make_graph(nodes, "decoder", [ids], [logits], weights)
    onnx.save(helper.make_model(graph), folder / "decoder.onnx")
    return folder / "decoder.onnx"


def test_a_table_counts_as_a_row_experts_as_the_chosen_and_the_head_whole(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"]),
        helper.make_node("MatMul", ["x", "square"], ["y"]),
        helper.make_node("MoE", ["y", "r", "up", "", "down"], ["z"], domain="com.microsoft", k=2),
        helper.make_node("Gemm", ["z", "head"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["logits"]),
    ]
    weights = [
        tensor("table", np.float32, WORDS, HIDDEN),
        tensor("square", np.float32, HIDDEN, HIDDEN),
        tensor("up", np.float32, EXPERTS, 6, HIDDEN),
        tensor("down", np.float32, EXPERTS, HIDDEN, 3),
        tensor("head", np.float32, WORDS, HIDDEN),
        tensor("shape", np.int64, 3),
    ]
    found = read_traffic(graph_of(nodes, weights, tmp_path), BUILD)
    experts = (6 * HIDDEN + 3 * HIDDEN) * 2
    floats = HIDDEN + HIDDEN**2 + experts + WORDS * HIDDEN
    assert found == Traffic(
        weights={"float32": 4 * floats, "int64": 24},
        states=2 * 4 * (3 * 10 + 2 * 4 * 4),
        per_past_token=4 * 2 * 2 * 4,
        multiply_adds=HIDDEN**2 + experts + WORDS * HIDDEN,
        head_multiply_adds=WORDS * HIDDEN,
    )
    assert found.bytes_at(9) == 4 * floats + 24 + found.states + 10 * 64


def test_a_table_that_is_also_the_head_is_read_whole_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"]),
        helper.make_node("Transpose", ["table"], ["turned"]),
        helper.make_node("MatMul", ["x", "turned"], ["logits"]),
    ]
    weights = [tensor("table", np.float32, WORDS, HIDDEN)]
    found = read_traffic(graph_of(nodes, weights, tmp_path), BUILD)
    assert found.weights == {"float32": 4 * WORDS * HIDDEN}
    assert found.head_multiply_adds == found.multiply_adds == WORDS * HIDDEN


def test_packed_integers_are_counted_by_their_bits(tmp_path: Path) -> None:
    nodes = [
        helper.make_node(
            "MatMulNBits",
            ["input_ids", "packed", "scales"],
            ["x"],
            domain="com.microsoft",
            bits=4,
            K=64,
            N=10,
        ),
        helper.make_node(
            "QMoE",
            ["x", "r", "w", "s", "", "w2", "s2"],
            ["y"],
            domain="com.microsoft",
            k=1,
            expert_weight_bits=4,
        ),
        helper.make_node("Cast", ["half"], ["whole"], to=onnx.TensorProto.FLOAT),
        helper.make_node("MatMul", ["y", "whole"], ["logits"]),
    ]
    weights = [
        tensor("packed", np.uint8, 10, 2, 16),
        tensor("scales", np.float32, 10, 2),
        tensor("w", np.uint8, EXPERTS, 6, 4),
        tensor("s", np.float32, EXPERTS, 6),
        tensor("w2", np.uint8, EXPERTS, 8, 3),
        tensor("s2", np.float32, EXPERTS, 8),
        tensor("half", np.float16, HIDDEN, HIDDEN),
    ]
    found = read_traffic(graph_of(nodes, weights, tmp_path), BUILD)
    assert found.weights["int4"] == 10 * 2 * 16 + 6 * 4 + 8 * 3
    # float16 is unfolded when it is loaded, and streams as float32.
    assert found.weights["float32"] == 4 * (10 * 2 + 6 + 8 + HIDDEN**2)
    assert found.multiply_adds == 64 * 10 + 2 * (6 * 4 + 8 * 3) + HIDDEN**2


def test_a_real_decoder_streams_less_than_its_file_and_more_than_half(bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle, tmp_path)
    build = opened.manifest.onnx
    assert build is not None
    found = read_traffic(opened.path(build.decoder), build)
    size = opened.path(build.decoder).stat().st_size
    assert size / 2 < sum(found.weights.values()) < size
    assert 0 < found.head_multiply_adds < found.multiply_adds


def test_the_machine_is_measured_with_plain_sums() -> None:
    found = measure_roofline(1, numbers=1 << 18, side=64, repeats=2)
    assert found.threads == 1
    for speed in (found.triad_bytes_s, found.read_bytes_s, found.multiply_adds_s):
        assert 1e6 < speed < 1e14


def made_up(threads: int | None) -> Roofline:
    return Roofline(1e9, 2e9, 3e9, threads or 1)


@pytest.fixture(scope="module")
def report(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> BenchReport:
    return bench_engine(
        bundle,
        tmp_path_factory.mktemp("cache"),
        image_size=(48, 32),
        tokens=24,
        repeats=2,
        threads=1,
        measure=made_up,
    )


def test_figures_stand_beside_their_bounds(report: BenchReport) -> None:
    traffic = report.traffic
    assert report.decode_bound_tokens_s == pytest.approx(2e9 / traffic.bytes_at(24 + 8))
    work = 24 * (traffic.multiply_adds - traffic.head_multiply_adds) + traffic.head_multiply_adds
    assert report.prefill_bound_tokens_s == pytest.approx(24 * 3e9 / work)
    assert report.graph.prefill_tokens_s > 0
    assert report.graph.decode_tokens_s > 0
    assert report.peak_bytes > report.stated_bytes > 0


def test_an_inspection_is_a_whole_answer_about_a_picture(report: BenchReport) -> None:
    one = report.inspection
    assert one.image_tokens > 0
    assert one.prompt_tokens > 50
    assert one.answer_tokens > 2
    parts = one.vision_ms + one.prefill_ms + one.decode_ms
    assert min(one.first_ms, one.repeated_ms, one.again_ms, parts, one.open_s) > 0


def test_a_prefill_beyond_the_context_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    small = tiny_engine.build(checkpoint, tmp_path / "small", context_tokens=64)
    with pytest.raises(IncompatibleBundle, match=r"at most 47"):
        bench_engine(small, tmp_path, image_size=(8, 8), tokens=48, repeats=1, measure=made_up)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_command_prints_figures_and_limits(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lineside.engines import bench

    monkeypatch.setattr(
        bench.bench_engine, "__kwdefaults__", {**bench.bench_engine.__kwdefaults__, "measure": made_up}
    )
    ask = ["bench", bundle, "--tokens", "16", "--image", "48x32", "--repeats", "1", "--threads", "1"]
    shown = run(*ask).output
    assert "memory 2.0 GB/s read" in shown
    assert "prefill of 16" in shown
    said = json.loads(run(*ask, "--json").output)
    assert said["decode_bound_tokens_s"] > 0
    assert said["graph"]["prompt_tokens"] == 16


@pytest.mark.parametrize("size", ["448", "x", "0x5", "axb", "-4x5", "99999x5"])
def test_a_size_that_is_none_is_wrong_usage(bundle: Path, size: str) -> None:
    assert run("bench", bundle, "--image", size).exit_code == 2
