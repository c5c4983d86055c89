"""What compiling all of a 2B engine takes: memory, time and size of each plan, by TensorRT-RTX, with no GPU.

`python -m pytest -q -s tests/benchmarks/engines/test_tensorrt_builds.py` prints the table in the docs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from imagined_weights import PAIR_OF_2B, ImaginedWeights, vision_of_2b
from onnx import ModelProto

from lineside.engines.quantise.blocks import BlockForm
from lineside.engines.tensorrt.apart import compile_apart
from lineside.engines.tensorrt.compiler_process import Job
from lineside.engines.tensorrt.describe import decoder_graph, dialects_for, vision_graph
from lineside.engines.tensorrt.library import LibraryMissing, load
from lineside.engines.tensorrt.profiles import Sizes, shapes_of
from lineside.engines.tensorrt.weights import CountingShelf

WHOLE = replace(
    PAIR_OF_2B,
    vocab_size=248_320,
    layer_types=(("linear_attention",) * 3 + ("full_attention",)) * 6,
)
SIZES = Sizes(context=4096)
INT4 = BlockForm(4, 128, False)


@pytest.mark.timeout(1200)
def test_a_whole_2b_engine(tmp_path: Path) -> None:
    try:
        dialects = dialects_for(load("tensorrt-rtx"), WHOLE)
    except LibraryMissing as error:
        pytest.skip(f"nothing was compiled: {error}")
    shelves = {part: CountingShelf() for part in ("decoder", "vision")}
    source = ImaginedWeights(INT4)
    graphs: dict[str, ModelProto] = {}
    for dialect in (dialects.step, dialects.prefill):
        graph = decoder_graph(dialect, source, shelves["decoder"], WHOLE, SIZES.context)
        graphs[graph.name] = graph.model()
    tower = vision_graph(dialects.vision, ImaginedWeights(), shelves["vision"], vision_of_2b(24), (30, 40))
    graphs[tower.name] = tower.model()
    print(f"\nweights: {shelves['decoder'].bytes >> 20} MiB int4, {shelves['vision'].bytes >> 20} MiB vision")
    for name, model in graphs.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        shapes = shapes_of(model.graph.input, SIZES.ranges())
        job = Job("tensorrt-rtx", 89, str(path), str(tmp_path / name), str(tmp_path), shapes)
        facts = compile_apart(job, name, tmp_path, lambda done, of: None)
        print(
            f"{name}: {len(model.graph.node)} nodes, {facts['seconds']:.0f} s, "
            f"{facts['peak_bytes'] >> 20} MiB of memory, plan {facts['bytes'] / 1e6:.1f} MB"
        )
        assert facts["bytes"] > 1 << 20
