"""A bundle's graph as the source of weights: every form it may be stored in, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from qwen_cases import Model, write_checkpoint
from rounded_tensors import RoundedTensors

from lineside.engines.build import GraphFiles, Storage, build_graphs
from lineside.engines.errors import IncompatibleBundle
from lineside.engines.graph.dialects.given import whole
from lineside.engines.graph.fed import Blocks, Dense
from lineside.engines.tensorrt.stored_graph import StoredGraph
from lineside.engines.tensorrt.weights import EmbeddingTable
from lineside.engines.weights import open_checkpoint

MODEL = Model("moe", 2, tied=True)
Built = tuple[GraphFiles, RoundedTensors]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Built]:
    """(graphs, the checkpoint's tensors as the graphs' forms leave them)."""
    made: dict[tuple[str, int], Built] = {}
    checkpoint = write_checkpoint(MODEL, tmp_path_factory.mktemp("checkpoint"))

    def find(precision: str, external_above: int = 1 << 40) -> Built:
        key = (precision, external_above)
        if key not in made:
            files = build_graphs(
                checkpoint,
                tmp_path_factory.mktemp("graphs"),
                storage=Storage(precision),  # type: ignore[arg-type]
                external_above_bytes=external_above,
            )
            made[key] = (files, RoundedTensors(open_checkpoint(checkpoint), files.choices))
        return made[key]

    return find


@pytest.mark.parametrize("external_above", [0, 1 << 40], ids=["beside the graph", "inside"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4"])
def test_weights_come_back_as_they_were_stored(
    built: Callable[..., Built], precision: str, external_above: int
) -> None:
    files, tensors = built(precision, external_above)
    assert bool(files.weights) is (external_above == 0)
    source, text = StoredGraph(files.decoder), files.config.text
    table = whole(source.table("embed_tokens", (text.vocab_size, text.hidden)))
    np.testing.assert_allclose(table, tensors.read("embed_tokens.weight", table.shape), rtol=1e-6)
    width = text.linear.value_width
    out = whole(source.product("layers.0/out_proj", (text.hidden, width)))
    name = "layers.0.linear_attn.out_proj.weight"
    np.testing.assert_allclose(out, tensors.read(name, (text.hidden, width)), rtol=1e-6)
    experts = source.experts("layers.0/experts", 6, 24, text.hidden)
    up = tensors.read("layers.0.mlp.experts.4.up_proj.weight", (24, text.hidden))
    np.testing.assert_allclose(whole(experts.gate_up(4))[1::2], up, rtol=1e-6)


def test_rows_that_others_keep_exact_are_cut_off_a_whole_matrix(built: Callable[..., Built]) -> None:
    """A float32 bundle has one matrix where a rounded one has two."""
    files, _ = built("fp32")
    source, text = StoredGraph(files.decoder), files.config.text
    sizes = text.linear
    first = sizes.conv_channels + sizes.value_width
    behind = 2 * sizes.value_heads
    both = whole(StoredGraph(files.decoder).product("layers.0/in_proj", (first + behind, text.hidden)))
    rounded = whole(source.product("layers.0/in_proj", (first, text.hidden)))
    exact = whole(source.product("layers.0/in_proj_exact", (behind, text.hidden)))
    np.testing.assert_array_equal(np.concatenate([rounded, exact]), both)
    with pytest.raises(IncompatibleBundle, match=r"no weight layers\.0/in_proj_exact"):
        source.product("layers.0/in_proj_exact", (behind, text.hidden))


@pytest.mark.parametrize(
    "ask",
    [
        lambda source: source.small("norm", (47,)),
        lambda source: source.small("nothing", (48,)),
        lambda source: source.product("layers.0/out_proj", (48, 47)),
        lambda source: source.product("layers.0/out_proj", (4800, 96)),
        lambda source: source.table("embed_tokens", (128, 47)),
        lambda source: source.experts("layers.0/experts", 6, 25, 48).gate_up(0),
    ],
)
def test_a_graph_of_another_shape_is_refused(
    built: Callable[..., Built], ask: Callable[[StoredGraph], object]
) -> None:
    with pytest.raises(IncompatibleBundle, match="lineside engine build"):
        ask(StoredGraph(built("fp32")[0].decoder))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int4"])
def test_the_host_looks_words_up(
    built: Callable[..., Built], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few rows of a large table are read one by one, and are the rows of the whole."""
    files, tensors = built(precision)
    text = files.config.text
    shape = (text.vocab_size, text.hidden)
    ids = np.array([[3, 127, 0], [3, 64, 12]])
    wanted = tensors.read("embed_tokens.weight", shape)[ids].astype(np.float16)
    small = EmbeddingTable(StoredGraph(files.decoder), shape)
    np.testing.assert_array_equal(small.rows(ids), wanted)
    monkeypatch.setattr("lineside.engines.tensorrt.weights.KEPT_VALUES", 0)
    large = EmbeddingTable(StoredGraph(files.decoder), shape)
    np.testing.assert_array_equal(large.rows(ids), wanted)
    assert large.rows(ids).dtype == np.float16


def test_forms_are_told_apart(built: Callable[..., Built]) -> None:
    text = built("int4")[0].config.text
    assert isinstance(
        StoredGraph(built("int4")[0].decoder).table("embed_tokens", (text.vocab_size, text.hidden)),
        Blocks | Dense,
    )
    packed = StoredGraph(built("int4")[0].decoder).product("layers.0/out_proj", (text.hidden, 96))
    assert isinstance(packed, Blocks)
    assert packed.form.bits == 4


def test_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decoder.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(IncompatibleBundle, match=r"decoder\.onnx"):
        StoredGraph(path)
