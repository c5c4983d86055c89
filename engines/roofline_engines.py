"""What an engine costs by its architecture alone: bytes a token, bytes resident, operations of a prefill.

From a configuration, without weights or graphs: it can be said before anything is downloaded. The published
sizes are listed here. Knows architecture; does not know devices or runtimes. `traffic.py` counts the same
from a finished graph.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineside.engines.config import (
    DenseMlpConfig,
    Family,
    LayerType,
    LinearAttentionConfig,
    ModelConfig,
    MoeConfig,
    TextConfig,
    TextRopeConfig,
    VisionConfig,
)

_FP16, _FLOAT32 = 2, 4


@dataclass(frozen=True, slots=True)
class Precision:
    """How weights are held: bytes a weight of the layers and of the output head, scales included.

    `computes_in`: the number format of prefill's products; `least_sm`: the oldest chip that has it.
    """

    name: str
    layers: float
    head: float
    computes_in: str = "fp16"
    least_sm: int = 0


_INT4 = 0.5 + 2 / 128  # blocks of 128 with a float16 scale
_INT8 = 1 + 2 / 128
PRECISIONS: tuple[Precision, ...] = (
    Precision("int4", _INT4, _INT4),
    Precision("int4+head8", _INT4, _INT8),
    Precision("int4+head16", _INT4, _FP16),
    Precision("int8", _INT8, _INT8),
    Precision("fp16", _FP16, _FP16),
    Precision("fp8", 1, 1, "fp8", 89),
    Precision("nvfp4", 0.5 + 1 / 16, 0.5 + 1 / 16, "nvfp4", 100),
)
FP32 = Precision("fp32", _FLOAT32, _FLOAT32)
"""Of engines for processors; no device with a GPU runs one."""


def precision_of(manifest: str) -> Precision:
    """The precision that a manifest names ("int4", or with more words after it)."""
    known = {precision.name: precision for precision in (*PRECISIONS, FP32)}
    return known.get(manifest.replace(",", " ").split(" ")[0], FP32)


@dataclass(frozen=True, slots=True)
class Cost:
    """One engine's costs. Weights are counts; the rest is bytes.

    `active`: layers' weights that a token meets (of a mixture, the chosen experts); `layers`: all of them;
    `head` is also the embedding where they are tied, else `table` has the embedding's. `states`: recurrent
    and convolution states of one sequence, float32; `cache_per_token`: keys and values in float16.
    """

    name: str
    active: int
    layers: int
    head: int
    table: int
    vision: int
    states: int
    cache_per_token: int
    text: TextConfig
    tower: VisionConfig | None

    def streamed(self, precision: Precision, past_tokens: int) -> float:
        """Bytes that cross the memory bus for one decoded token after `past_tokens`."""
        weights = self.active * precision.layers + self.head * precision.head
        return weights + 2 * self.states + self.cache_per_token * past_tokens

    def read_by_prefill(self, precision: Precision, tokens: int) -> float:
        """Bytes of weights that `tokens` together need at least once; of a mixture, by even routing."""
        mlp, routed = self.text.mlp, 0.0
        if isinstance(mlp, MoeConfig):
            missed: float = (1 - mlp.experts_per_token / mlp.experts) ** tokens
            experts = self.layers - self.active
            routed = experts - missed * (experts / (1 - mlp.experts_per_token / mlp.experts))
        return (self.active + max(routed, 0.0)) * precision.layers + self.head * precision.head

    def resident(self, precision: Precision, context_tokens: int) -> float:
        """Bytes in memory: weights, the tower in float16, states twice (they swap), a full cache."""
        weights = self.layers * precision.layers + (self.head + self.table) * precision.head
        return weights + _FP16 * self.vision + 2 * self.states + self.cache_per_token * context_tokens

    def prefill_operations(self, tokens: int) -> float:
        """Of reading `tokens` from the empty past, logits after the last one; a multiply-add is two."""
        text = self.text
        full = sum(kind == "full_attention" for kind in text.layer_types)
        linear = len(text.layer_types) - full
        pairs = tokens * (tokens + 1) / 2
        attention = 4 * pairs * text.heads * text.head_dim * full
        # Each value head: fade, recall, correct, read: three products with a key_dim × value_dim state.
        delta = 6 * tokens * text.linear.value_heads * text.linear.key_dim * text.linear.value_dim * linear
        return 2 * self.active * tokens + 2 * self.head + attention + delta

    def vision_operations(self, patches: int) -> float:
        """Of one picture's way through the tower; 0 for a text-only engine."""
        tower = self.tower
        if tower is None:
            return 0.0
        merged = patches // tower.merge**2
        # The patch embedding of a still picture takes one of the two frames: they are alike.
        embedding = tower.patch_values // tower.temporal_patch * tower.hidden
        attention = 4 * patches**2 * tower.hidden * tower.depth
        return (
            2 * patches * (_block(tower) * tower.depth + embedding) + 2 * merged * _merger(tower) + attention
        )


def cost_of(name: str, config: ModelConfig) -> Cost:
    """The costs of a configuration."""
    text = config.text
    full = sum(kind == "full_attention" for kind in text.layer_types)
    linear = len(text.layer_types) - full
    mixers = full * _full_attention(text) + linear * _linear_attention(text)
    resident_mlp, active_mlp = _mlp(text)
    words = text.vocab_size * text.hidden
    sizes = text.linear
    states = (
        sizes.value_heads * sizes.key_dim * sizes.value_dim + (sizes.conv_kernel - 1) * sizes.conv_channels
    )
    tower = config.vision
    return Cost(
        name=name,
        active=mixers + len(text.layer_types) * active_mlp,
        layers=mixers + len(text.layer_types) * resident_mlp,
        head=words,
        table=0 if text.tied_head else words,
        vision=0 if tower is None else _tower(tower),
        states=_FLOAT32 * linear * states,
        cache_per_token=_FP16 * full * 2 * text.kv_heads * text.head_dim,
        text=text,
        tower=tower,
    )


def _full_attention(text: TextConfig) -> int:
    queries, keys = text.heads * text.head_dim, text.kv_heads * text.head_dim
    return text.hidden * (2 * queries + 2 * keys) + queries * text.hidden


def _linear_attention(text: TextConfig) -> int:
    sizes = text.linear
    inputs = sizes.conv_channels + sizes.value_width + 2 * sizes.value_heads
    return text.hidden * inputs + sizes.conv_kernel * sizes.conv_channels + sizes.value_width * text.hidden


def _mlp(text: TextConfig) -> tuple[int, int]:
    """Weights of one layer's MLP: all, and those a token meets."""
    mlp = text.mlp
    if isinstance(mlp, DenseMlpConfig):
        count = 3 * text.hidden * mlp.intermediate
        return count, count
    expert = 3 * text.hidden * mlp.intermediate
    around = text.hidden * (mlp.experts + 3 * mlp.shared_intermediate + 1)
    return around + mlp.experts * expert, around + mlp.experts_per_token * expert


def _block(tower: VisionConfig) -> int:
    return 4 * tower.hidden**2 + 2 * tower.hidden * tower.intermediate


def _merger(tower: VisionConfig) -> int:
    wide = tower.hidden * tower.merge**2
    return wide * wide + wide * tower.out_hidden


def _tower(tower: VisionConfig) -> int:
    around = tower.patch_values * tower.hidden + tower.position_side**2 * tower.hidden + _merger(tower)
    return tower.depth * _block(tower) + around


def _published(
    hidden: int,
    layers: int,
    mlp: DenseMlpConfig | MoeConfig,
    heads: tuple[int, int],
    value_heads: int,
    tower: tuple[int, int, int, int],
    *,
    tied: bool = False,
) -> ModelConfig:
    """`heads`: of queries, of keys; `tower`: depth, width, inner width, heads."""
    kinds: tuple[LayerType, ...] = tuple(
        "full_attention" if i % 4 == 3 else "linear_attention" for i in range(layers)
    )
    text = TextConfig(
        vocab_size=248_320,
        hidden=hidden,
        layer_types=kinds,
        heads=heads[0],
        kv_heads=heads[1],
        head_dim=256,
        linear=LinearAttentionConfig(16, value_heads, 128, 128, 4),
        mlp=mlp,
        rms_eps=1e-6,
        rope=TextRopeConfig(1e7, 64, (11, 11, 10)),
        tied_head=tied,
        max_positions=262_144,
    )
    depth, width, inner, tower_heads = tower
    vision = VisionConfig(depth, width, inner, tower_heads, 3, 16, 2, 2, hidden, 48, 10_000.0)
    family: Family = "qwen3_5" if isinstance(mlp, DenseMlpConfig) else "qwen3_5_moe"
    return ModelConfig(family, text, vision, None, ())


_SMALL, _MIDDLE, _LARGE = (12, 768, 3072, 12), (24, 1024, 4096, 16), (27, 1152, 4304, 16)
PUBLISHED: dict[str, ModelConfig] = {
    "0.8B": _published(1024, 24, DenseMlpConfig(3584), (8, 2), 16, _SMALL, tied=True),
    "2B": _published(2048, 24, DenseMlpConfig(6144), (8, 2), 16, _MIDDLE, tied=True),
    "4B": _published(2560, 32, DenseMlpConfig(9216), (16, 4), 32, _MIDDLE, tied=True),
    "9B": _published(4096, 32, DenseMlpConfig(12288), (16, 4), 32, _LARGE),
    "27B": _published(5120, 64, DenseMlpConfig(17408), (24, 4), 48, _LARGE),
    "35B-A3B": _published(2048, 40, MoeConfig(256, 8, 512, 512), (16, 2), 32, _LARGE),
}
"""As published; an engine of one's own is read from its `config.json` instead."""
