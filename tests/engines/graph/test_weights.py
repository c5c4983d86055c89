"""Which files tensors are read from, as what, and how a damaged or partial download is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from lineside.engines.errors import UnsupportedModel
from lineside.engines.weights import MissingTensor, open_checkpoint

VALUES = np.array([[1.5, -2.0, 0.25], [3.0, 0.0, -0.5]], np.float32)
NAME = "model.language_model.layers.0.mlp.gate.weight"
ASKED = "layers.0.mlp.gate.weight"


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64, ml_dtypes.bfloat16])
def test_every_float_is_read_as_float32(tmp_path: Path, kind: Any) -> None:
    save_file({NAME: VALUES.astype(kind)}, tmp_path / "model.safetensors")
    found = open_checkpoint(tmp_path).read(ASKED, (2, 3))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VALUES)


@pytest.mark.parametrize("prefix", ["model.language_model.", "language_model.model.", "model.", ""])
def test_the_same_tensor_is_found_under_every_known_prefix(tmp_path: Path, prefix: str) -> None:
    save_file({prefix + ASKED: VALUES, "lm_head.weight": VALUES}, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    np.testing.assert_array_equal(checkpoint.read(ASKED, (2, 3)), VALUES)
    np.testing.assert_array_equal(checkpoint.read("lm_head.weight", (2, 3)), VALUES)


def _sharded(folder: Path) -> Path:
    save_file({NAME: VALUES}, folder / "model-00001-of-00002.safetensors")
    save_file({"model.visual.pos_embed.weight": VALUES + 1}, folder / "model-00002-of-00002.safetensors")
    weight_map = {
        NAME: "model-00001-of-00002.safetensors",
        "model.visual.pos_embed.weight": "model-00002-of-00002.safetensors",
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(_sharded(tmp_path))
    np.testing.assert_array_equal(checkpoint.read(ASKED, (2, 3)), VALUES)
    np.testing.assert_array_equal(checkpoint.read("visual.pos_embed.weight", (2, 3)), VALUES + 1)
    assert checkpoint.shape("visual.pos_embed.weight") == (2, 3)


def test_a_shard_that_is_not_there_is_named(tmp_path: Path) -> None:
    (_sharded(tmp_path) / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UnsupportedModel, match="names model-00002-of-00002"):
        open_checkpoint(tmp_path)


def test_a_shard_without_what_the_index_promises_is_refused(tmp_path: Path) -> None:
    save_file({"other": VALUES}, _sharded(tmp_path) / "model-00002-of-00002.safetensors")
    with pytest.raises(UnsupportedModel, match=r"lacks model\.visual\.pos_embed"):
        open_checkpoint(tmp_path)


def test_a_shard_outside_the_folder_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    save_file({NAME: VALUES}, tmp_path / "outside.safetensors")
    (inside / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {NAME: "../outside.safetensors"}})
    )
    with pytest.raises(UnsupportedModel, match="outside the checkpoint"):
        open_checkpoint(inside)


@pytest.mark.parametrize("content", ["", "{}", '{"weight_map": 3}', "nonsense"])
def test_a_broken_index_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UnsupportedModel, match="not a safetensors index"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("kept", [0, 4, 40, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    save_file({NAME: VALUES}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UnsupportedModel, match="not a whole safetensors file"):
        open_checkpoint(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"no .*safetensors"):
        open_checkpoint(tmp_path)


def test_a_missing_tensor_says_where_it_was_looked_for(tmp_path: Path) -> None:
    save_file({NAME: VALUES}, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    assert "norm.weight" not in checkpoint
    with pytest.raises(MissingTensor, match=r"model\.language_model\.norm\.weight"):
        checkpoint.read("norm.weight", (3,))


def test_another_shape_than_the_configuration_says_is_refused(tmp_path: Path) -> None:
    save_file({NAME: VALUES}, tmp_path / "model.safetensors")
    with pytest.raises(UnsupportedModel, match=r"\(2, 3\).*\(3, 2\)"):
        open_checkpoint(tmp_path).read(ASKED, (3, 2))


def test_a_quantised_tensor_is_refused(tmp_path: Path) -> None:
    save_file({NAME: VALUES.astype(np.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(UnsupportedModel, match="stored as I8"):
        open_checkpoint(tmp_path).read(ASKED, (2, 3))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    broken = VALUES.copy()
    broken[1, 1] = value
    save_file({NAME: broken}, tmp_path / "model.safetensors")
    with pytest.raises(UnsupportedModel, match="not finite"):
        open_checkpoint(tmp_path).read(ASKED, (2, 3))
