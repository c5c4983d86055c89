"""LoRA adapters in PEFT's format, merged into the weights as they are read: W + scale·B·A.

Knows PEFT's files and names; does not know graphs. What it cannot merge exactly it refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lineside.engines.errors import UnsupportedModel
from lineside.engines.shards import Array, StoredTensor, read_header, read_rows
from lineside.engines.weights import Checkpoint

_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_NAME = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")
_PREFIXES = ("model.language_model.", "language_model.model.", "language_model.", "model.", "")
# What changes more than W + scale·B·A, with the value under which it changes nothing.
_REFUSED: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (False, None),
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None, []),
    "target_parameters": (None, []),
    "fan_in_fan_out": (False, None),
    "use_qalora": (False, None),
    "layer_replication": (None, []),
    "alora_invocation_tokens": (None, []),
}


@dataclass(frozen=True, slots=True)
class _Pair:
    down: StoredTensor  # A, [rank, in]
    up: StoredTensor  # B, [out, rank]
    scale: float


class AdaptedCheckpoint:
    """A checkpoint as it is with an adapter merged (`TensorSource`)."""

    def __init__(self, base: Checkpoint, pairs: Mapping[str, _Pair]) -> None:
        """`pairs`: our name of a weight → what is added to it."""
        self._base = base
        self._pairs = pairs

    @property
    def merged(self) -> frozenset[str]:
        """The weights that the adapter changes."""
        return frozenset(self._pairs)

    def __contains__(self, name: str) -> bool:
        return name in self._base

    def rows(self, name: str, shape: tuple[int, ...], start: int, stop: int) -> Array:
        """Some rows, the adapter's share added."""
        values = self._base.rows(name, shape, start, stop)
        pair = self._pairs.get(name)
        if pair is None:
            return values
        down = read_rows(pair.down, f"lora_A of {name}", 0, pair.down.shape[0])
        up = read_rows(pair.up, f"lora_B of {name}", start, stop)
        return values + (up @ down) * values.dtype.type(pair.scale)

    def read(self, name: str, shape: tuple[int, ...]) -> Array:
        """A whole tensor, the adapter's share added."""
        return self.rows(name, shape, 0, shape[0] if shape else 1)


def open_adapter(folder: Path, base: Checkpoint) -> AdaptedCheckpoint:
    """`base` with the LoRA adapter in `folder` (adapter_config.json, adapter_model.safetensors).

    Raises:
        UnsupportedModel: no such adapter, one of another kind, or one for another model.
    """
    settings = _settings(folder / _CONFIG)
    if not (folder / _WEIGHTS).is_file():
        raise UnsupportedModel(f"{folder}: no {_WEIGHTS}. Give a PEFT adapter's folder.")
    found: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in read_header(folder / _WEIGHTS).items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise UnsupportedModel(f"{folder / _WEIGHTS}: {name} is no part of a plain LoRA adapter.")
        found.setdefault(match["layer"], {})[match["part"]] = tensor
    pairs: dict[str, _Pair] = {}
    for layer, parts in found.items():
        if set(parts) != {"A", "B"}:
            raise UnsupportedModel(f"{folder / _WEIGHTS}: {layer} has only one of lora_A and lora_B.")
        pair = _Pair(parts["A"], parts["B"], _scale(settings, layer, parts["A"].shape[0]))
        pairs[_our_name(folder, base, layer, pair)] = pair
    if not pairs:
        raise UnsupportedModel(f"{folder / _WEIGHTS} holds no tensors: there is nothing to merge.")
    return AdaptedCheckpoint(base, pairs)


def _settings(path: Path) -> dict[str, object]:
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{path}: cannot be read ({error}). Give a PEFT adapter's folder.") from error
    if not isinstance(settings, dict):
        raise UnsupportedModel(f"{path}: not an object. Give a PEFT adapter's folder.")
    for key, harmless in _REFUSED.items():
        value = settings.get(key, harmless[0])
        if value not in harmless:
            raise UnsupportedModel(
                f"{path}: {key} is {json.dumps(value)}; only plain LoRA adapters can be merged. Merge "
                "it with PEFT (merge_and_unload) and build from the result."
            )
    return settings


def _scale(settings: Mapping[str, object], layer: str, rank: int) -> float:
    alpha = _patterned(settings.get("alpha_pattern"), layer) or settings.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise UnsupportedModel(f"{_CONFIG}: lora_alpha is missing.")
    return float(alpha) / (rank**0.5 if settings.get("use_rslora") is True else rank)


def _patterned(patterns: object, layer: str) -> float | None:
    """The value of the first pattern that a layer's name ends with, as PEFT reads them."""
    if isinstance(patterns, dict):
        for pattern, value in patterns.items():
            if re.fullmatch(rf"(.*\.)?({pattern})", layer):
                return float(value)
    return None


def _our_name(folder: Path, base: Checkpoint, layer: str, pair: _Pair) -> str:
    for prefix in _PREFIXES:
        name = f"{layer.removeprefix(prefix)}.weight"
        if layer.startswith(prefix) and name in base:
            shape = base.shape(name)
            if shape != (pair.up.shape[0], pair.down.shape[1]) or pair.up.shape[1] != pair.down.shape[0]:
                raise UnsupportedModel(
                    f"{folder}: the adapter's {layer} is for a weight of "
                    f"{(pair.up.shape[0], pair.down.shape[1])}, the checkpoint's is {shape}: "
                    "it belongs to another model."
                )
            return name
    raise UnsupportedModel(f"{folder}: the checkpoint has no {layer}: the adapter belongs to another model.")
