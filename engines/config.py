"""Reads a Qwen3.5 checkpoint's `config.json` into frozen values, and refuses what cannot be built.

Every value that changes the mathematics is read here and nowhere else. A missing size is an error, never
a plausible default; the few switches that checkpoints leave out take the architecture's own default. Does
not know weights, graphs or runtimes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lineside.engines.errors import UnsupportedModel

LayerType = Literal["linear_attention", "full_attention"]
Family = Literal["qwen3_5", "qwen3_5_moe"]

_MODEL_TYPES: dict[str, tuple[Family, bool]] = {
    "qwen3_5": ("qwen3_5", True),
    "qwen3_5_moe": ("qwen3_5_moe", True),
    "qwen3_5_text": ("qwen3_5", False),
    "qwen3_5_moe_text": ("qwen3_5_moe", False),
}
_DEFAULT_VISION_ROPE_THETA = 10000.0


@dataclass(frozen=True, slots=True)
class LinearAttentionConfig:
    """Sizes of the Gated DeltaNet layers. `value_heads` is a multiple of `key_heads`."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    conv_kernel: int

    @property
    def key_width(self) -> int:
        """All key heads side by side (as many as query heads)."""
        return self.key_heads * self.key_dim

    @property
    def value_width(self) -> int:
        """All value heads side by side."""
        return self.value_heads * self.value_dim

    @property
    def conv_channels(self) -> int:
        """Channels of the causal convolution: queries, keys and values."""
        return 2 * self.key_width + self.value_width


@dataclass(frozen=True, slots=True)
class DenseMlpConfig:
    """A SwiGLU MLP."""

    intermediate: int


@dataclass(frozen=True, slots=True)
class MoeConfig:
    """A sparse mixture of SwiGLU experts beside one shared expert with a sigmoid gate."""

    experts: int
    experts_per_token: int
    intermediate: int
    shared_intermediate: int


@dataclass(frozen=True, slots=True)
class TextRopeConfig:
    """Interleaved multimodal rotary positions.

    `rotary_dim`: how many values of a head turn; `sections`: pairs for time, height and width.
    """

    theta: float
    rotary_dim: int
    sections: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The decoder."""

    vocab_size: int
    hidden: int
    layer_types: tuple[LayerType, ...]
    heads: int
    kv_heads: int
    head_dim: int
    linear: LinearAttentionConfig
    mlp: DenseMlpConfig | MoeConfig
    rms_eps: float
    rope: TextRopeConfig
    tied_head: bool
    max_positions: int


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The vision tower. `position_side`: the learned position table is a square of this side."""

    depth: int
    hidden: int
    intermediate: int
    heads: int
    channels: int
    patch: int
    temporal_patch: int
    merge: int
    out_hidden: int
    position_side: int
    rope_theta: float

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    @property
    def patch_values(self) -> int:
        """Numbers in one flattened patch (channels, temporal patch, patch, patch)."""
        return self.channels * self.temporal_patch * self.patch * self.patch


@dataclass(frozen=True, slots=True)
class VisionTokens:
    """Token ids that stand for pictures in a prompt."""

    image: int
    video: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One checkpoint's configuration. `vision` and `tokens` are None for a text-only model."""

    family: Family
    text: TextConfig
    vision: VisionConfig | None
    tokens: VisionTokens | None
    end_token_ids: tuple[int, ...]


def read_config(path: Path) -> ModelConfig:
    """The configuration in `path` (a `config.json` or the folder that holds one).

    Raises:
        UnsupportedModel: unreadable, incomplete, or a value the graph builder does not implement.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        raw = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedModel(
            f"{file}: cannot be read as a model configuration ({error}). Give the checkpoint's folder."
        ) from error
    if not isinstance(raw, dict):
        raise UnsupportedModel(f"{file}: a model configuration is a JSON object.")
    return parse_config(raw)


def parse_config(raw: Mapping[str, object]) -> ModelConfig:
    """The configuration in a `config.json` already read.

    Raises:
        UnsupportedModel: naming the key, its value, and what is supported.
    """
    top = _Section("config.json", raw)
    model_type = top.text("model_type")
    if model_type not in _MODEL_TYPES:
        raise top.refuse("model_type", model_type, " or ".join(_MODEL_TYPES))
    family, multimodal = _MODEL_TYPES[model_type]
    top.expect("quantization_config", None, default=None)
    if not multimodal:
        return ModelConfig(family, _text(top, family, top), None, None, _end_tokens(top, top))
    text = top.section("text_config")
    config = ModelConfig(
        family=family,
        text=_text(text, family, top),
        vision=_vision(top.section("vision_config"), family),
        tokens=VisionTokens(
            image=top.integer("image_token_id"),
            video=top.integer("video_token_id"),
            start=top.integer("vision_start_token_id"),
            end=top.integer("vision_end_token_id"),
        ),
        end_token_ids=_end_tokens(text, top),
    )
    assert config.vision is not None
    if config.vision.out_hidden != config.text.hidden:
        raise UnsupportedModel(
            f"vision_config.out_hidden_size is {config.vision.out_hidden}, text_config.hidden_size is "
            f"{config.text.hidden}: they must be equal. The configuration is damaged."
        )
    return config


class _Section:
    """One object of the file, read key by key with its path in every message."""

    def __init__(self, name: str, values: Mapping[str, object]) -> None:
        self.name = name
        self.values = values

    def refuse(self, key: str, value: object, supported: str) -> UnsupportedModel:
        return UnsupportedModel(f"{self.name}: {key} is {json.dumps(value)}; supported: {supported}.")

    def required(self, key: str) -> object:
        if self.values.get(key) is None:
            raise UnsupportedModel(f"{self.name}: {key} is missing. The graph builder guesses no size.")
        return self.values[key]

    def section(self, key: str) -> _Section:
        value = self.required(key)
        if not isinstance(value, dict):
            raise self.refuse(key, value, "an object")
        return _Section(key, value)

    def text(self, key: str) -> str:
        value = self.required(key)
        if not isinstance(value, str):
            raise self.refuse(key, value, "a string")
        return value

    def integer(self, key: str, *, least: int = 0) -> int:
        value = self.required(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refuse(key, value, f"an integer of at least {least}")
        return value

    def size(self, key: str) -> int:
        return self.integer(key, least=1)

    def positive(self, key: str) -> float:
        value = self.required(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise self.refuse(key, value, "a positive number")
        return float(value)

    def square(self, key: str) -> int:
        """A size that some checkpoints write as a list of equal numbers."""
        value = self.required(key)
        if isinstance(value, list) and value and all(v == value[0] for v in value):
            return _Section(self.name, {key: value[0]}).size(key)
        return self.size(key)

    def expect(self, key: str, *supported: object, default: object) -> object:
        """The value of a switch, one of those implemented; `default` where the file leaves it out."""
        value = self.values.get(key, default)
        if value not in supported or type(value) not in {type(s) for s in supported}:
            raise self.refuse(key, value, " or ".join(json.dumps(s) for s in supported))
        return value


def _text(text: _Section, family: Family, top: _Section) -> TextConfig:
    text.expect("model_type", f"{family}_text", default=f"{family}_text")
    text.expect("hidden_act", "silu", default="silu")
    text.expect("attention_bias", False, default=False)
    text.expect("attn_output_gate", True, default=True)
    text.expect("sliding_window", None, default=None)
    text.expect("mlp_only_layers", [], default=[])
    text.expect("decoder_sparse_step", 1, default=1)
    text.expect("norm_topk_prob", True, default=True)
    text.expect("output_gate_type", "swish", "silu", default="silu")
    layer_types = _layer_types(text)
    heads, kv_heads = text.size("num_attention_heads"), text.size("num_key_value_heads")
    if heads % kv_heads:
        raise text.refuse("num_key_value_heads", kv_heads, f"a divisor of num_attention_heads ({heads})")
    head_dim = text.size("head_dim")
    tie_owner = top if "tie_word_embeddings" in top.values else text
    return TextConfig(
        vocab_size=text.size("vocab_size"),
        hidden=text.size("hidden_size"),
        layer_types=layer_types,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        linear=_linear(text),
        mlp=_mlp(text, family),
        rms_eps=text.positive("rms_norm_eps"),
        rope=_text_rope(text, head_dim),
        tied_head=bool(tie_owner.expect("tie_word_embeddings", True, False, default=False)),
        max_positions=text.size("max_position_embeddings"),
    )


def _layer_types(text: _Section) -> tuple[LayerType, ...]:
    layers = text.size("num_hidden_layers")
    named = text.values.get("layer_types")
    if named is None:
        interval = text.size("full_attention_interval")
        return tuple("linear_attention" if (i + 1) % interval else "full_attention" for i in range(layers))
    if not isinstance(named, list) or len(named) != layers:
        raise text.refuse("layer_types", named, f"a list of num_hidden_layers ({layers}) names")
    kinds: list[LayerType] = []
    for kind in named:
        if kind == "linear_attention":
            kinds.append("linear_attention")
        elif kind == "full_attention":
            kinds.append("full_attention")
        else:
            raise text.refuse("layer_types", kind, "linear_attention or full_attention")
    return tuple(kinds)


def _linear(text: _Section) -> LinearAttentionConfig:
    key_heads, value_heads = text.size("linear_num_key_heads"), text.size("linear_num_value_heads")
    if value_heads % key_heads:
        raise text.refuse(
            "linear_num_value_heads", value_heads, f"a multiple of linear_num_key_heads ({key_heads})"
        )
    return LinearAttentionConfig(
        key_heads=key_heads,
        value_heads=value_heads,
        key_dim=text.size("linear_key_head_dim"),
        value_dim=text.size("linear_value_head_dim"),
        conv_kernel=text.integer("linear_conv_kernel_dim", least=2),
    )


def _mlp(text: _Section, family: Family) -> DenseMlpConfig | MoeConfig:
    if family == "qwen3_5":
        return DenseMlpConfig(text.size("intermediate_size"))
    experts, chosen = text.size("num_experts"), text.size("num_experts_per_tok")
    if chosen > experts:
        raise text.refuse("num_experts_per_tok", chosen, f"at most num_experts ({experts})")
    return MoeConfig(
        experts, chosen, text.size("moe_intermediate_size"), text.size("shared_expert_intermediate_size")
    )


def _text_rope(text: _Section, head_dim: int) -> TextRopeConfig:
    text.expect("rope_scaling", None, default=None)
    rope = text.section("rope_parameters")
    rope.expect("rope_type", "default", default="default")
    rope.expect("mrope_interleaved", True, default=True)
    rotary_dim = int(head_dim * rope.positive("partial_rotary_factor"))
    sections = rope.required("mrope_section")
    if (
        not isinstance(sections, list)
        or len(sections) != 3
        or not all(type(s) is int and s >= 0 for s in sections)
        or 2 * sum(sections) != rotary_dim
        or rotary_dim > head_dim
    ):
        raise rope.refuse(
            "mrope_section", sections, f"three counts that sum to half of {rotary_dim} turning values"
        )
    return TextRopeConfig(rope.positive("rope_theta"), rotary_dim, (sections[0], sections[1], sections[2]))


def _vision(vision: _Section, family: Family) -> VisionConfig:
    # Early checkpoints carry the whole model's type in the vision section.
    vision.expect("model_type", f"{family}_vision", family, default=f"{family}_vision")
    vision.expect("hidden_act", "gelu_pytorch_tanh", default="gelu_pytorch_tanh")
    vision.expect("deepstack_visual_indexes", [], default=[])
    hidden, heads = vision.size("hidden_size"), vision.size("num_heads")
    if hidden % heads or (hidden // heads) % 4:
        raise vision.refuse(
            "num_heads", heads, f"a divisor of hidden_size ({hidden}) with heads a multiple of 4 wide"
        )
    positions = vision.size("num_position_embeddings")
    side = round(positions**0.5)
    if side * side != positions:
        raise vision.refuse("num_position_embeddings", positions, "a square number")
    theta = _DEFAULT_VISION_ROPE_THETA
    if vision.values.get("rope_parameters") is not None:
        rope = vision.section("rope_parameters")
        rope.expect("rope_type", "axial", "default", default="axial")
        theta = rope.positive("rope_theta")
    return VisionConfig(
        depth=vision.size("depth"),
        hidden=hidden,
        intermediate=vision.size("intermediate_size"),
        heads=heads,
        channels=vision.size("in_channels"),
        patch=vision.square("patch_size"),
        temporal_patch=vision.square("temporal_patch_size"),
        merge=vision.size("spatial_merge_size"),
        out_hidden=vision.size("out_hidden_size"),
        position_side=side,
        rope_theta=theta,
    )


def _end_tokens(text: _Section, top: _Section) -> tuple[int, ...]:
    section = text if top.values.get("eos_token_id") is None else top
    value = section.values.get("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(i) is int and i >= 0 for i in ids):
        raise section.refuse("eos_token_id", value, "a token id or a list of them")
    return tuple(ids)
