"""Graphs compiled for real by TensorRT-RTX, which needs no GPU for it: what it makes of them, chip by chip.

Nothing is run. A subset is built in every test run; with LINESIDE_TENSORRT_ALL=1 every combination is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from imagined_weights import PAIR_OF_2B, ImaginedWeights, vision_of_2b
from onnx import ModelProto
from qwen_cases import Model, write_checkpoint
from tensorrt_graphs import cut_at_plugins

import lineside.engines.demo
from lineside.engines.build import build_graphs
from lineside.engines.bundle import open_bundle
from lineside.engines.config import parse_config
from lineside.engines.graph.dialects.tensorrt import TensorRtDialect
from lineside.engines.graph.dialects.tensorrt_plugins import TensorRtPluginDialect
from lineside.engines.graph.fed import OURS
from lineside.engines.quantise.blocks import BlockForm
from lineside.engines.tensorrt.apart import compile_apart
from lineside.engines.tensorrt.compiler_process import Job, compile_graph
from lineside.engines.tensorrt.describe import decoder_graph, dialects_for, vision_graph
from lineside.engines.tensorrt.library import Library, LibraryMissing, load
from lineside.engines.tensorrt.network import CannotCompile, Complaints, PluginsMissing, parse
from lineside.engines.tensorrt.profiles import Range, Sizes, shapes_of
from lineside.engines.tensorrt.stored_graph import StoredGraph
from lineside.engines.tensorrt.weights import CountingShelf

DEMO = Path(lineside.engines.demo.__file__).parent / "demo.lsengine"
EVERYTHING = os.environ.get("LINESIDE_TENSORRT_ALL") == "1"
SIZES = Sizes(context=4096)
INT4 = BlockForm(4, 128, False)
FINE_INT4 = BlockForm(4, 32, True)
PRODUCTS = 9
"""In and out of both mixers, both MLPs' two each, and the head."""


@pytest.fixture(scope="module")
def rtx() -> Library:
    try:
        return load("tensorrt-rtx")
    except LibraryMissing as error:
        pytest.skip(f"no engine was compiled: {error}")


def compiled(
    library: Library, model: ModelProto, sm: int, place: Path, ranges: Any = None
) -> tuple[bytes, dict[str, Any]]:
    path = place / "graph.onnx"
    path.write_bytes(model.SerializeToString())
    shapes = shapes_of(model.graph.input, ranges or SIZES.ranges())
    job = Job("tensorrt-rtx", sm, str(path), str(place / "plan"), str(place), shapes)
    return compile_graph(library, job)


def some(*subset: Any, rest: tuple[Any, ...]) -> Any:
    return [*subset, *(rest if EVERYTHING else ())]


@pytest.mark.parametrize("sm", [86, 89, 120])
def test_the_tower_of_a_camera_has_fused_attention_and_one_input(
    rtx: Library, sm: int, tmp_path: Path
) -> None:
    """2B's width, two of 24 layers, 640×480: positions are inside, weights are not."""
    shelf = CountingShelf()
    dialect = dialects_for(rtx, PAIR_OF_2B).vision
    graph = vision_graph(dialect, ImaginedWeights(), shelf, vision_of_2b(2), (30, 40))
    plan, facts = compiled(rtx, graph.model(), sm, tmp_path)
    inputs = {name: one for name, one in facts["inputs"].items() if name not in shelf.places}
    assert inputs == {"pixel_values": {"dtype": "FLOAT", "shape": [1, 1200, 1536]}}
    assert facts["outputs"] == {"image_embeds": {"dtype": "FLOAT", "shape": [1, 300, 2048]}}
    assert facts["layers"]["ATTENTION_INPUT"] == 2
    assert facts["layers"]["ROTARY_EMBEDDING"] == 2
    assert any("_gemm_mha" in kernel for kernel in facts["kernels"])
    assert facts["bytes"] == len(plan) < 16 << 20
    assert shelf.bytes > 90 << 20  # what the plan does not hold


def step(form: BlockForm | None, rounding: Any = "stored") -> tuple[ModelProto, CountingShelf]:
    shelf = CountingShelf()
    dialect = TensorRtDialect(call="step", rounding=rounding)
    graph = decoder_graph(dialect, ImaginedWeights(form), shelf, PAIR_OF_2B, SIZES.context)
    return graph.model(), shelf


@pytest.mark.parametrize(
    ("form", "sm"),
    some(
        (None, 86),
        (INT4, 89),
        (FINE_INT4, 120),
        rest=((None, 89), (None, 120), (INT4, 86), (INT4, 120), (FINE_INT4, 86), (FINE_INT4, 89)),
    ),
)
def test_a_step_at_full_width_has_the_native_layers(
    rtx: Library, form: BlockForm | None, sm: int, tmp_path: Path
) -> None:
    """A layer of each kind of 2B; integers go in as they are, and no weight is in the plan."""
    model, shelf = step(form)
    plan, facts = compiled(rtx, model, sm, tmp_path)
    layers = facts["layers"]
    assert (layers["ATTENTION_INPUT"], layers["KV_CACHE_UPDATE"], layers["ROTARY_EMBEDDING"]) == (1, 2, 1)
    assert layers.get("DEQUANTIZE", 0) == (0 if form is None else PRODUCTS)
    inputs, outputs = facts["inputs"], facts["outputs"]
    kinds = {inputs[name]["dtype"] for name in shelf.places if "in_proj" in name and "exact" not in name}
    assert ("INT4" in kinds) is (form is not None)
    assert inputs["past.1.key"] == {"dtype": "HALF", "shape": [-1, 2, 4096, 256]}
    assert inputs["past.0.recurrent"] == {"dtype": "FLOAT", "shape": [-1, 16, 128, 128]}
    assert inputs["past_length"]["dtype"] == "INT64"
    assert outputs["present.1.key"] == inputs["past.1.key"]
    assert outputs["logits"] == {"dtype": "FLOAT", "shape": [-1, 1, 1024]}
    assert {"image_embeds", "image_index", "input_ids", "logit_positions"}.isdisjoint(inputs)
    assert len(plan) < 8 << 20 < shelf.bytes


@pytest.mark.parametrize("form", some(FINE_INT4, rest=(None, INT4)))
def test_a_prefill_of_any_length_has_fused_attention(
    rtx: Library, form: BlockForm | None, tmp_path: Path
) -> None:
    shelf = CountingShelf()
    dialect = dialects_for(rtx, PAIR_OF_2B).prefill
    graph = decoder_graph(dialect, ImaginedWeights(form), shelf, PAIR_OF_2B, SIZES.context)
    plan, facts = compiled(rtx, graph.model(), 89, tmp_path)
    assert facts["layers"]["KV_CACHE_UPDATE"] == 2
    assert facts["layers"]["LOOP_OUTPUT"] == 2
    assert any("_gemm_mha" in kernel for kernel in facts["kernels"])
    assert facts["inputs"]["text_embeds"] == {"dtype": "HALF", "shape": [-1, -1, 2048]}
    assert facts["inputs"]["image_embeds"] == {"dtype": "FLOAT", "shape": [-1, 2048]}
    assert len(plan) < 16 << 20 < shelf.bytes
    # The same weights in the same places: one copy serves both.
    assert step(form)[1].places == shelf.places


@pytest.mark.parametrize(
    ("rounding", "sm", "kind"),
    some(("fp8", 89, "FP8"), ("nvfp4", 120, "FP4"), rest=(("fp8", 120, "FP8"),)),
)
def test_chips_that_have_narrow_floats_get_them(
    rtx: Library, rounding: str, sm: int, kind: str, tmp_path: Path
) -> None:
    model, shelf = step(None, rounding)
    _, facts = compiled(rtx, model, sm, tmp_path)
    kinds = [facts["inputs"][name]["dtype"] for name in shelf.places]
    assert kinds.count(kind) == PRODUCTS


@pytest.mark.parametrize(
    ("rounding", "sm", "named"), some(("fp8", 86, "fp8_e4m3"), rest=(("nvfp4", 89, "fp4_e2m1"),))
)
def test_chips_that_have_none_refuse_them(
    rtx: Library, rounding: str, sm: int, named: str, tmp_path: Path
) -> None:
    model, _ = step(None, rounding)
    with pytest.raises(CannotCompile, match=named):
        compiled(rtx, model, sm, tmp_path)


@pytest.mark.parametrize("call", ["step", "prefill"])
def test_our_nodes_are_what_the_parser_lacks_and_the_rest_compiles(
    rtx: Library, call: Any, tmp_path: Path
) -> None:
    """TensorRT-RTX takes no plugins: it must miss exactly our nodes, and compile the graph cut at them."""
    dialect = TensorRtPluginDialect(call=call)
    graph = decoder_graph(dialect, ImaginedWeights(FINE_INT4), CountingShelf(), PAIR_OF_2B, SIZES.context)
    model = graph.model()
    ours = {(node.name, node.op_type) for node in model.graph.node if node.domain == OURS}
    assert len(ours) == PRODUCTS + (1 if call == "step" else 3)
    complaints = Complaints()
    logger = complaints.logger(rtx)
    builder = rtx.trt.Builder(logger)
    with pytest.raises(PluginsMissing) as refused:
        parse(rtx, builder, logger, model.SerializeToString())
    assert {(one.node, one.operator) for one in refused.value.missing} == ours
    tokens = Range(1, 1, 1) if call == "step" else Range(1, 256, 1024)
    ranges = {
        **SIZES.ranges(),
        "B": Range(1, 1, 1),
        "T": tokens,
        "BT": tokens,
        "BK": Range(1, 1, 1),
        "chunks": Range(1, 4, 16),
    }
    _, facts = compiled(rtx, cut_at_plugins(graph, PAIR_OF_2B), 89, tmp_path, ranges)
    assert facts["layers"]["ATTENTION_INPUT"] == 1


@pytest.mark.parametrize("call", ["step", "prefill"])
def test_a_mixtures_nodes_are_what_the_parser_lacks(rtx: Library, call: Any, tmp_path: Path) -> None:
    """The demo engine's experts and linear layers, which its heads of 32 let our kernels run."""
    bundle = open_bundle(DEMO, tmp_path)
    text = parse_config(bundle.json("config.json")).text
    source = StoredGraph(bundle.path("onnx/decoder.onnx"))
    graph = decoder_graph(TensorRtPluginDialect(call=call), source, CountingShelf(), text, 512)
    ours = sorted(node.op_type for node in graph.model().graph.node if node.domain == OURS)
    complaints = Complaints()
    logger = complaints.logger(rtx)
    builder = rtx.trt.Builder(logger)
    with pytest.raises(PluginsMissing, match="take the runtime tensorrt-rtx") as refused:
        parse(rtx, builder, logger, graph.model().SerializeToString())
    assert sorted(one.operator for one in refused.value.missing) == ours
    assert len(ours) == (3 + 4 * 3 if call == "step" else 3 * 3 + 4 * 5)


@pytest.mark.skipif(
    not EVERYTHING, reason="asked with LINESIDE_TENSORRT_ALL=1: how a library fails is its own"
)
def test_what_made_us_say_attention_as_products_is_still_so(rtx: Library, tmp_path: Path) -> None:
    """Native attention over a number of tokens that is not fixed ends TensorRT-RTX 1.7 for some small models.

    That is why a prefill says attention as products there.
    """
    if not rtx.version.startswith("1.7."):
        pytest.skip(f"known of 1.7, not of {rtx.version}")
    files = build_graphs(
        write_checkpoint(Model("moe", 2, tied=False), tmp_path / "tiny"), tmp_path / "graphs"
    )
    dialect = TensorRtDialect(call="prefill", attention="native")
    graph = decoder_graph(dialect, StoredGraph(files.decoder), CountingShelf(), files.config.text, 512)
    model = graph.model()
    path = tmp_path / "graph.onnx"
    path.write_bytes(model.SerializeToString())
    shapes = shapes_of(model.graph.input, Sizes(context=512).ranges())
    job = Job("tensorrt-rtx", 89, str(path), str(tmp_path / "plan"), str(tmp_path), shapes)
    with pytest.raises(CannotCompile, match=r"^prefill: "):
        compile_apart(job, "prefill", tmp_path, lambda done, of: None)
    assert not (tmp_path / "plan").exists()
