"""The published sizes, as `config.json` files, and random checkpoints of them at any depth.

Written from the numbers that the checkpoints were published with; weights are random, of the size that
trained ones have, in bfloat16 and in shards as published ones are.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from qwen_cases import tensor_shapes
from safetensors.numpy import save_file

FULL_VOCABULARY = 248_320
_DRAWN = 1_000_003


@dataclass(frozen=True)
class Size:
    """One published size; `experts` and `moe_intermediate` are 0 for a dense one."""

    name: str
    hidden: int
    layers: int
    intermediate: int
    heads: int
    kv_heads: int
    value_heads: int
    tied: bool
    vision: tuple[int, int, int, int]  # depth, hidden, intermediate, heads
    experts: int = 0
    moe_intermediate: int = 0
    vocabulary: int = FULL_VOCABULARY

    def reduced(self, *, layers: int, vision_depth: int = 1, vocabulary: int = 512, **sizes: int) -> Size:
        """The same widths at less depth."""
        vision = (vision_depth, *self.vision[1:])
        return replace(self, layers=layers, vision=vision, vocabulary=vocabulary, **sizes)


SMALL = (12, 768, 3072, 12)
MIDDLE = (24, 1024, 4096, 16)
LARGE = (27, 1152, 4304, 16)
SIZES = {
    size.name: size
    for size in (
        Size("0.8B", 1024, 24, 3584, 8, 2, 16, True, SMALL),
        Size("2B", 2048, 24, 6144, 8, 2, 16, True, MIDDLE),
        Size("4B", 2560, 32, 9216, 16, 4, 32, True, MIDDLE),
        Size("9B", 4096, 32, 12288, 16, 4, 32, False, LARGE),
        Size("27B", 5120, 64, 17408, 24, 4, 48, False, LARGE),
        Size("35B-A3B", 2048, 40, 512, 16, 2, 32, False, LARGE, experts=256, moe_intermediate=512),
    )
}


def config_of(size: Size) -> dict[str, Any]:
    """The size's `config.json`."""
    kind = "qwen3_5_moe" if size.experts else "qwen3_5"
    mlp: dict[str, int] = {"intermediate_size": size.intermediate}
    if size.experts:
        mlp = {
            "num_experts": size.experts,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": size.moe_intermediate,
            "shared_expert_intermediate_size": size.intermediate,
        }
    depth, width, inner, heads = size.vision
    last = size.vocabulary
    return {
        "model_type": kind,
        "image_token_id": last - 1,
        "video_token_id": last - 2,
        "vision_start_token_id": last - 3,
        "vision_end_token_id": last - 4,
        "tie_word_embeddings": size.tied,
        "text_config": {
            "model_type": f"{kind}_text",
            "vocab_size": size.vocabulary,
            "hidden_size": size.hidden,
            "num_hidden_layers": size.layers,
            "layer_types": [
                "full_attention" if i % 4 == 3 or i == size.layers - 1 else "linear_attention"
                for i in range(size.layers)
            ],
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.kv_heads,
            "head_dim": 256,
            "hidden_act": "silu",
            "attention_bias": False,
            "attn_output_gate": True,
            "linear_num_key_heads": 16,
            "linear_num_value_heads": size.value_heads,
            "linear_key_head_dim": 128,
            "linear_value_head_dim": 128,
            "linear_conv_kernel_dim": 4,
            "rms_norm_eps": 1e-6,
            "max_position_embeddings": 262_144,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000_000,
                "partial_rotary_factor": 0.25,
                "mrope_section": [11, 11, 10],
                "mrope_interleaved": True,
            },
            **mlp,
        },
        "vision_config": {
            "model_type": kind,
            "depth": depth,
            "hidden_size": width,
            "hidden_act": "gelu_pytorch_tanh",
            "intermediate_size": inner,
            "num_heads": heads,
            "in_channels": 3,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": size.hidden,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [],
        },
    }


def random_weight(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """Norms near nothing (they are stored around zero), weights of a size that keeps signals as they are."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    # Beyond a million values the same ones again, out of step with every row: drawing takes longest here.
    drawn = rng.standard_normal(min(int(np.prod(shape)), _DRAWN), np.float32)
    values = np.resize(drawn, shape)
    if name.endswith("linear_attn.norm.weight") or ("visual" in name and "norm" in name):
        values = 1 + 0.05 * values if name.endswith("weight") else 0.05 * values
    elif name.endswith("A_log"):
        values = np.log(rng.uniform(0.5, 8, shape)).astype(np.float32)
    elif name.endswith("dt_bias"):
        values -= 2
    elif len(shape) == 1:
        values *= 0.05
    elif "embed" in name:
        values *= 0.02
    else:
        values *= float(np.prod(shape[1:])) ** -0.5
    return values.astype(ml_dtypes.bfloat16)


def write_weights(size: Size, folder: Path, *, shard_bytes: int = 2 << 30, seed: int = 5) -> Path:
    """A checkpoint folder: configuration and weights, in shards of at most about `shard_bytes`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(size)
    (folder / "config.json").write_text(json.dumps(config))
    shards = list(_shards(_stacked(tensor_shapes(config)), shard_bytes))
    weight_map: dict[str, str] = {}
    for i, names in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        save_file({name: random_weight(name, shape, seed) for name, shape in names.items()}, folder / file)
        weight_map |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def _stacked(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Experts in one tensor, as published checkpoints have them."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        layer, part, rest = name.partition(".experts.")
        if not part:
            found[name] = shape
            continue
        expert, which, _ = rest.split(".", 2)
        stacked = f"{layer}.experts.{'down_proj' if which == 'down_proj' else 'gate_up_proj'}"
        rows = shape[0] if which == "down_proj" else 2 * shape[0]
        found[stacked] = (int(expert) + 1, rows, shape[1])
    return found


def _shards(shapes: dict[str, tuple[int, ...]], limit: int) -> Iterator[dict[str, tuple[int, ...]]]:
    shard: dict[str, tuple[int, ...]] = {}
    used = 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        if shard and used + size > limit:
            yield shard
            shard, used = {}, 0
        shard[name] = shape
        used += size
    yield shard
