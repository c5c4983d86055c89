"""The small random models that the graphs are held against, and the prompts they are asked with.

Everything comes from numpy and a seed, so that only what transformers answers needs to be stored. Knows
names and shapes of a checkpoint on its own account, not through the graph builder.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file

IMAGE, VIDEO, START, END = 120, 121, 122, 123
VOCABULARY, HIDDEN = 128, 48
DECODE_STEPS = 32

PromptKind = Literal["text", "image", "images", "clip"]
PROMPT_KINDS: tuple[PromptKind, ...] = ("text", "image", "images", "clip")


@dataclass(frozen=True)
class Model:
    """One small model. `ratio`: value heads for each key head."""

    family: Literal["dense", "moe"]
    ratio: int
    tied: bool

    @property
    def name(self) -> str:
        return f"{self.family}-{self.ratio}x-{'tied' if self.tied else 'untied'}"


MODELS = tuple(
    Model(family, ratio, tied) for family in ("dense", "moe") for ratio in (1, 2) for tied in (True, False)
)


def config_of(model: Model) -> dict[str, Any]:
    """The model's `config.json`. Widths differ wherever they may, so that none is mistaken for another."""
    kind = "qwen3_5" if model.family == "dense" else "qwen3_5_moe"
    mlp: dict[str, int] = {"intermediate_size": 80}
    if model.family == "moe":
        mlp = {
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "shared_expert_intermediate_size": 40,
        }
    return {
        "model_type": kind,
        "architectures": [
            "Qwen3_5MoeForConditionalGeneration"
            if mlp.get("num_experts")
            else "Qwen3_5ForConditionalGeneration"
        ],
        "image_token_id": IMAGE,
        "video_token_id": VIDEO,
        "vision_start_token_id": START,
        "vision_end_token_id": END,
        "tie_word_embeddings": model.tied,
        "text_config": {
            "model_type": f"{kind}_text",
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "num_hidden_layers": 5,
            "layer_types": [
                "linear_attention",
                "full_attention",
                "linear_attention",
                "linear_attention",
                "full_attention",
            ],
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "hidden_act": "silu",
            "attention_bias": False,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2 * model.ratio,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 24,
            "linear_conv_kernel_dim": 4,
            "rms_norm_eps": 1e-6,
            "max_position_embeddings": 512,
            "tie_word_embeddings": model.tied,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
            },
            **mlp,
        },
        "vision_config": {
            "model_type": f"{kind}_vision",
            "depth": 2,
            "hidden_size": 32,
            "hidden_act": "gelu_pytorch_tanh",
            "intermediate_size": 56,
            "num_heads": 2,
            "in_channels": 3,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": HIDDEN,
            "num_position_embeddings": 36,
            "rope_parameters": {"rope_type": "axial", "rope_theta": 10000.0},
        },
    }


def tensor_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of the checkpoint: name → shape, experts one by one as transformers saves them."""
    text, vision = config["text_config"], config["vision_config"]
    hidden = text["hidden_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (text["vocab_size"], hidden),
        "norm.weight": (hidden,),
    }
    for i, kind in enumerate(text["layer_types"]):
        layer: dict[str, tuple[int, ...]] = {
            "input_layernorm.weight": (hidden,),
            "post_attention_layernorm.weight": (hidden,),
        }
        if kind == "linear_attention":
            keys = text["linear_num_key_heads"] * text["linear_key_head_dim"]
            heads = text["linear_num_value_heads"]
            values = heads * text["linear_value_head_dim"]
            layer |= {
                "linear_attn.in_proj_qkv.weight": (2 * keys + values, hidden),
                "linear_attn.in_proj_z.weight": (values, hidden),
                "linear_attn.in_proj_b.weight": (heads, hidden),
                "linear_attn.in_proj_a.weight": (heads, hidden),
                "linear_attn.conv1d.weight": (2 * keys + values, 1, text["linear_conv_kernel_dim"]),
                "linear_attn.A_log": (heads,),
                "linear_attn.dt_bias": (heads,),
                "linear_attn.norm.weight": (text["linear_value_head_dim"],),
                "linear_attn.out_proj.weight": (hidden, values),
            }
        else:
            dim = text["head_dim"]
            queries, keys = text["num_attention_heads"] * dim, text["num_key_value_heads"] * dim
            layer |= {
                "self_attn.q_proj.weight": (2 * queries, hidden),
                "self_attn.k_proj.weight": (keys, hidden),
                "self_attn.v_proj.weight": (keys, hidden),
                "self_attn.o_proj.weight": (hidden, queries),
                "self_attn.q_norm.weight": (dim,),
                "self_attn.k_norm.weight": (dim,),
            }
        if "num_experts" in text:
            inner = text["moe_intermediate_size"]
            layer |= _swiglu("mlp.shared_expert", text["shared_expert_intermediate_size"], hidden)
            layer |= {
                "mlp.gate.weight": (text["num_experts"], hidden),
                "mlp.shared_expert_gate.weight": (1, hidden),
            }
            for expert in range(text["num_experts"]):
                layer |= _swiglu(f"mlp.experts.{expert}", inner, hidden)
        else:
            layer |= _swiglu("mlp", text["intermediate_size"], hidden)
        shapes |= {f"layers.{i}.{name}": shape for name, shape in layer.items()}
    full = {f"model.language_model.{name}": shape for name, shape in shapes.items()}
    full |= {f"model.visual.{name}": shape for name, shape in _vision_shapes(vision).items()}
    if not config["tie_word_embeddings"]:
        full["lm_head.weight"] = (text["vocab_size"], hidden)
    return full


def _swiglu(name: str, inner: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.gate_proj.weight": (inner, hidden),
        f"{name}.up_proj.weight": (inner, hidden),
        f"{name}.down_proj.weight": (hidden, inner),
    }


def _vision_shapes(vision: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    width, inner, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    merged = width * vision["spatial_merge_size"] ** 2
    linears = {
        "merger.linear_fc1": (merged, merged),
        "merger.linear_fc2": (vision["out_hidden_size"], merged),
    }
    norms = ["merger.norm"]
    for i in range(vision["depth"]):
        linears |= {
            f"blocks.{i}.attn.qkv": (3 * width, width),
            f"blocks.{i}.attn.proj": (width, width),
            f"blocks.{i}.mlp.linear_fc1": (inner, width),
            f"blocks.{i}.mlp.linear_fc2": (width, inner),
        }
        norms += [f"blocks.{i}.norm1", f"blocks.{i}.norm2"]
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (
            width,
            vision["in_channels"],
            vision["temporal_patch_size"],
            patch,
            patch,
        ),
        "patch_embed.proj.bias": (width,),
        "pos_embed.weight": (vision["num_position_embeddings"], width),
    }
    for name, (out, into) in linears.items():
        shapes |= {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
    for name in norms:
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return shapes


def random_tensor(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A tensor that makes its part of the model matter, always the same for a name and a seed."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    noise = rng.standard_normal(shape)
    if name.endswith("A_log"):
        noise = np.log(rng.uniform(0.05, 4.0, shape))
    elif len(shape) == 1:
        # Vision's norms and the gated norm are stored around one, the decoder's other norms around zero.
        around_one = (
            ".norm" in name and name.endswith("weight") and ("visual" in name or "linear_attn" in name)
        )
        noise = 0.3 * noise + (1.0 if around_one else 0.0)
    elif "embed" not in name or "patch_embed" in name:
        noise = 1.5 * noise / np.sqrt(np.prod(shape[1:]))
    if name == "lm_head.weight" or "embed_tokens" in name:
        noise = 0.5 * rng.standard_normal(shape)
    return noise.astype(np.float32)


def write_checkpoint(model: Model, folder: Path, seed: int = 11) -> Path:
    """Writes `config.json` and `model.safetensors` as transformers would; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(model)
    tensors = {name: random_tensor(name, shape, seed) for name, shape in tensor_shapes(config).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@dataclass(frozen=True)
class Picture:
    """Patches of one grid: [slices, P, values]; a clip has several slices, each with a place of its own."""

    values: np.ndarray[Any, np.dtype[np.float32]]
    grid_h: int
    grid_w: int
    clip: bool = False


@dataclass(frozen=True)
class CasePrompt:
    """Token ids with placeholders expanded, and the pictures that belong into them, in order."""

    ids: tuple[int, ...]
    pictures: tuple[Picture, ...]


def prompt_of(kind: PromptKind, seed: int = 5) -> CasePrompt:
    """The prompt of one kind; grids are not square, so that rows and columns cannot be mistaken."""
    rng = np.random.default_rng([seed, PROMPT_KINDS.index(kind)])

    def words(count: int) -> list[int]:
        return [int(i) for i in rng.integers(0, 100, count)]

    def picture(slices: int, grid_h: int, grid_w: int, *, clip: bool = False) -> Picture:
        values = rng.standard_normal((slices, grid_h * grid_w, 3 * 2 * 4 * 4)).astype(np.float32)
        return Picture(values, grid_h, grid_w, clip)

    def place(token: int, grid_h: int, grid_w: int) -> list[int]:
        return [START, *[token] * (grid_h * grid_w // 4), END]

    if kind == "text":
        return CasePrompt(tuple(words(13)), ())
    if kind == "image":
        return CasePrompt(tuple(words(5) + place(IMAGE, 4, 6) + words(6)), (picture(1, 4, 6),))
    if kind == "images":
        ids = words(3) + place(IMAGE, 4, 6) + words(2) + place(IMAGE, 8, 4) + place(IMAGE, 4, 6) + words(4)
        return CasePrompt(tuple(ids), (picture(1, 4, 6), picture(1, 8, 4), picture(1, 4, 6)))
    ids = words(2)
    for _ in range(3):
        ids += words(2) + place(VIDEO, 4, 6)
    return CasePrompt(tuple(ids + words(5)), (picture(3, 4, 6, clip=True),))
