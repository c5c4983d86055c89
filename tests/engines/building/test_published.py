"""Every published size builds and runs at int4: full widths and heads, two layers, random weights.

But for the smallest, MLPs are an eighth as wide, experts are fewer and the vocabulary is short, so that
this takes seconds; `tests/benchmarks` builds whole models.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import published
import pytest
from graph_runner import GraphRunner
from qwen_cases import Picture

from lineside.engines.build import Storage, build_graphs

NARROWER = {"2B": 768, "4B": 1152, "9B": 1536, "27B": 2176}


@pytest.mark.parametrize("name", published.SIZES)
def test_a_published_size_builds_and_runs(name: str, tmp_path: Path) -> None:
    whole = published.SIZES[name]
    sizes = {"intermediate": NARROWER[name]} if name in NARROWER else {}
    size = whole.reduced(layers=2, **sizes, **({"experts": 8} if whole.experts else {}))
    folder = published.write_weights(size, tmp_path / "checkpoint", shard_bytes=64 << 20)
    files = build_graphs(folder, tmp_path / "graphs", storage=Storage("int4"))
    config = files.config.text
    assert (config.linear.key_heads, config.linear.value_heads) == (16, whole.value_heads)
    assert config.tied_head == whole.tied
    graph = onnx.load(files.decoder, load_external_data=False).graph
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
    assert shapes["past.0.recurrent"] == ["B", whole.value_heads, 128, 128]
    assert shapes["past.0.conv"] == ["B", 3, 2 * 16 * 128 + whole.value_heads * 128]
    assert shapes["past.1.key"] == ["B", whole.kv_heads, "S", 256]
    assert [one.name for one in files.choices if one.form == "float32"] == []
    assert max(one.error for one in files.choices) < 0.12

    runner = GraphRunner(files, capacity=16)
    assert files.config.vision is not None
    values = np.random.default_rng(0).standard_normal((1, 16, files.config.vision.patch_values))
    embeds = runner.embed_one(Picture(values.astype(np.float32), 4, 4))
    assert embeds.shape == (1, 4, whole.hidden)
    assert np.isfinite(embeds).all()
    logits, states = runner.step(runner.text_part([[5, 9, 7]], [0]), [0], runner.empty_states())
    more, _ = runner.step(runner.text_part([[3]], [3]), [3], states)
    both, _ = runner.step(runner.text_part([[5, 9, 7, 3]], [0]), [0], runner.empty_states())
    assert logits.shape == (1, 3, 512)
    # The step after three tokens is the fourth of four, but for activations rounded in other company.
    assert np.abs(more[0, 0] - both[0, 3]).max() < 0.1 * np.abs(both).max()
