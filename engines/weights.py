"""A checkpoint's tensors by name, read a few rows at a time, with no PyTorch.

One file or several shards with an index. Nothing is read before it is asked for, and nothing is kept.
Knows the prefixes that the same tensor has in different checkpoints; does not know graphs or what a tensor
means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from lineside.engines.errors import UnsupportedModel
from lineside.engines.shards import Array, StoredTensor, read_header, read_rows

_INDEX = "model.safetensors.index.json"


class MissingTensor(UnsupportedModel):
    """A tensor that the configuration calls for and the checkpoint does not hold."""


class TensorSource(Protocol):
    """Tensors by our names (`layers.0.mlp.gate.weight`, `visual.…`, `lm_head.weight`), as float32.

    A checkpoint, or one seen through an adapter or through scales.
    """

    def __contains__(self, name: str) -> bool: ...

    def rows(self, name: str, shape: tuple[int, ...], start: int, stop: int) -> Array:
        """Rows `start` to `stop` of the first axis of a tensor of this `shape`.

        Raises:
            MissingTensor: there is no such tensor.
            UnsupportedModel: another shape than the configuration says, not a float, or a damaged file.
        """
        ...

    def read(self, name: str, shape: tuple[int, ...]) -> Array:
        """A whole tensor; raises as `rows` does. For small ones: norms, gates, convolutions."""
        ...


class Checkpoint:
    """The tensors of a checkpoint's files (`TensorSource`). `files`: stored name → where it lies."""

    def __init__(self, folder: Path, files: Mapping[str, StoredTensor]) -> None:
        self._folder = folder
        self._files = files
        self._prefixes = _prefixes(files)

    @property
    def names(self) -> frozenset[str]:
        """Every stored name, as stored."""
        return frozenset(self._files)

    @property
    def tensors(self) -> Mapping[str, StoredTensor]:
        """Every stored name with its place, for those who need sizes."""
        return self._files

    def __contains__(self, name: str) -> bool:
        return self._stored(name) is not None

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        return self._require(name)[1].shape

    def stored_bytes(self, name: str) -> int:
        """What a tensor takes in its file."""
        return self._require(name)[1].length

    def rows(self, name: str, shape: tuple[int, ...], start: int, stop: int) -> Array:
        """Some rows of one tensor as float32."""
        stored, place = self._require(name)
        if place.shape != shape:
            raise UnsupportedModel(f"{stored} has shape {place.shape}; config.json calls for {shape}.")
        return read_rows(place, stored, start, stop)

    def read(self, name: str, shape: tuple[int, ...]) -> Array:
        """One tensor as float32."""
        return self.rows(name, shape, 0, shape[0] if shape else 1)

    def _stored(self, name: str) -> str | None:
        return next((p + name for p in self._prefixes if p + name in self._files), None)

    def _require(self, name: str) -> tuple[str, StoredTensor]:
        stored = self._stored(name)
        if stored is None:
            raise MissingTensor(
                f"{self._folder}: no tensor {name} (looked for "
                f"{', '.join(p + name for p in self._prefixes)}). Is every shard downloaded?"
            )
        return stored, self._files[stored]


def open_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`: an index with its shards, or every `*.safetensors` there.

    Raises:
        UnsupportedModel: no such files, a shard missing, or a file cut short.
    """
    index = folder / _INDEX
    if index.exists():
        return Checkpoint(folder, _indexed(folder, index))
    # Statistics that travel beside the weights are no weights.
    shards = sorted(path for path in folder.glob("*.safetensors") if path.name != "familiarity.safetensors")
    if not shards:
        raise UnsupportedModel(f"{folder}: no *.safetensors file. Give a Hugging Face checkpoint folder.")
    files: dict[str, StoredTensor] = {}
    for shard in shards:
        files.update(read_header(shard))
    return Checkpoint(folder, files)


def _indexed(folder: Path, index: Path) -> dict[str, StoredTensor]:
    try:
        weight_map = json.loads(index.read_text("utf-8"))["weight_map"]
        paths = {str(name): folder / str(shard) for name, shard in weight_map.items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UnsupportedModel(f"{index}: not a safetensors index ({error}). Download it again.") from error
    files: dict[str, StoredTensor] = {}
    for shard in sorted(set(paths.values())):
        if shard.parent != folder:
            raise UnsupportedModel(f"{index}: {shard} lies outside the checkpoint's folder.")
        if not shard.exists():
            raise UnsupportedModel(f"{index} names {shard.name}, which is not there. Download it.")
        held = read_header(shard)
        promised = [name for name, path in paths.items() if path == shard]
        lost = sorted(name for name in promised if name not in held)
        if lost:
            raise UnsupportedModel(
                f"{shard} lacks {lost[0]} and {len(lost) - 1} more that {index.name} promises."
            )
        files.update({name: held[name] for name in promised})
    return files


def _prefixes(names: Iterable[str]) -> tuple[str, ...]:
    """The prefixes under which our names are looked for, the longest first."""
    known = ("model.language_model.", "language_model.model.", "language_model.", "model.", "")
    present = [p for p in known if p == "" or any(n.startswith(p) for n in names)]
    return tuple(present)
