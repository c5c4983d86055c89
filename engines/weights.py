"""Reads a checkpoint's tensors one at a time from safetensors files, with no PyTorch.

One file or several shards with an index. Nothing is read before it is asked for, and nothing is kept.
Knows the prefixes that the same tensor has in different checkpoints; does not know graphs or what a tensor
means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  registers bfloat16 with numpy, which safetensors needs to hand such tensors over
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from lineside.engines.errors import UnsupportedModel

Array = NDArray[np.float32]

_INDEX = "model.safetensors.index.json"
_FLOATS = {"F32", "F16", "BF16", "F64"}


class MissingTensor(UnsupportedModel):
    """A tensor that the configuration calls for and the checkpoint does not hold."""


class Checkpoint:
    """Tensors by name, read as float32.

    `files`: tensor name → the safetensors file that holds it.
    """

    def __init__(self, folder: Path, files: dict[str, Path]) -> None:
        self._folder = folder
        self._files = files
        self._prefixes = _prefixes(files)

    @property
    def names(self) -> frozenset[str]:
        """Every stored name, as stored."""
        return frozenset(self._files)

    def __contains__(self, name: str) -> bool:
        return self._stored(name) is not None

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        stored = self._require(name)
        with _open(self._files[stored]) as file:
            return tuple(file.get_slice(stored).get_shape())

    def read(self, name: str, shape: tuple[int, ...]) -> Array:
        """One tensor as float32. `name` is ours (`layers.0.mlp.gate.weight`, `visual.…`, `lm_head.weight`).

        Raises:
            MissingTensor: not in the checkpoint.
            UnsupportedModel: another shape than the configuration says, not a float, or a damaged file.
        """
        stored = self._require(name)
        try:
            with _open(self._files[stored]) as file:
                view = file.get_slice(stored)
                kind, found = view.get_dtype(), tuple(view.get_shape())
                if kind not in _FLOATS:
                    raise UnsupportedModel(
                        f"{stored} is stored as {kind}; supported: {', '.join(sorted(_FLOATS))}. "
                        "Quantised checkpoints cannot be built from: use the original one."
                    )
                if found != shape:
                    raise UnsupportedModel(f"{stored} has shape {found}; config.json calls for {shape}.")
                tensor: Array = np.asarray(file.get_tensor(stored), dtype=np.float32)
        except (SafetensorError, OSError) as error:
            raise UnsupportedModel(
                f"{self._files[stored]}: {stored} cannot be read ({error}). Download the file again."
            ) from error
        if not np.isfinite(tensor).all():
            raise UnsupportedModel(f"{stored} holds values that are not finite. The checkpoint is damaged.")
        return tensor

    def _stored(self, name: str) -> str | None:
        return next((p + name for p in self._prefixes if p + name in self._files), None)

    def _require(self, name: str) -> str:
        stored = self._stored(name)
        if stored is None:
            raise MissingTensor(
                f"{self._folder}: no tensor {name} (looked for "
                f"{', '.join(p + name for p in self._prefixes)}). Is every shard downloaded?"
            )
        return stored


def open_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`: an index with its shards, or every `*.safetensors` there.

    Raises:
        UnsupportedModel: no such files, a shard missing, or a file cut short.
    """
    index = folder / _INDEX
    if index.exists():
        return Checkpoint(folder, _indexed(folder, index))
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise UnsupportedModel(f"{folder}: no *.safetensors file. Give a Hugging Face checkpoint folder.")
    files: dict[str, Path] = {}
    for shard in shards:
        with _open(shard) as file:
            files.update(dict.fromkeys(file.keys(), shard))
    return Checkpoint(folder, files)


def _indexed(folder: Path, index: Path) -> dict[str, Path]:
    try:
        weight_map = json.loads(index.read_text("utf-8"))["weight_map"]
        files = {str(name): folder / str(shard) for name, shard in weight_map.items()}
    except (ValueError, KeyError, AttributeError) as error:
        raise UnsupportedModel(f"{index}: not a safetensors index ({error}). Download it again.") from error
    for shard in sorted(set(files.values())):
        if shard.parent != folder:
            raise UnsupportedModel(f"{index}: {shard} lies outside the checkpoint's folder.")
        if not shard.exists():
            raise UnsupportedModel(f"{index} names {shard.name}, which is not there. Download it.")
        with _open(shard) as file:
            held = set(file.keys())
        lost = sorted(name for name, path in files.items() if path == shard and name not in held)
        if lost:
            raise UnsupportedModel(
                f"{shard} lacks {lost[0]} and {len(lost) - 1} more that {index.name} promises."
            )
    return files


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise UnsupportedModel(
            f"{path}: not a whole safetensors file ({error}). Download it again."
        ) from error


def _prefixes(names: Iterable[str]) -> tuple[str, ...]:
    """The prefixes under which our names are looked for, the longest first."""
    known = ("model.language_model.", "language_model.model.", "language_model.", "model.", "")
    present = [p for p in known if p == "" or any(n.startswith(p) for n in names)]
    return tuple(present)
