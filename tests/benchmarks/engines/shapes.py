"""The published shapes that are measured, and checkpoints and GGUF files of them with random weights.

Speed does not depend on the weights' values, so that no download is needed. Knows names and sizes; does not
know how anything is run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

REFERENCE = Path(__file__).resolve().parents[2] / "engines" / "reference"
sys.path.insert(0, str(REFERENCE))

import qwen_cases  # noqa: E402 - the tests' own description of checkpoints
import tiny_engine  # noqa: E402
import tiny_tokenizer  # noqa: E402

VOCABULARY = 248_320


@dataclass(frozen=True)
class Shape:
    """The numbers that differ between the published dense sizes with 16 key heads."""

    name: str
    hidden: int
    layers: int
    inner: int
    heads: int
    kv_heads: int
    value_heads: int
    vision_depth: int
    vision_hidden: int
    vision_inner: int
    vision_heads: int


SMALL = Shape("0.8B", 1024, 24, 3584, 8, 2, 16, 12, 768, 3072, 12)
MIDDLE = Shape("2B", 2048, 24, 6144, 8, 2, 16, 24, 1024, 4096, 16)
SHAPES = {shape.name: shape for shape in (SMALL, MIDDLE)}


def config_of(shape: Shape) -> dict[str, Any]:
    """`config.json` of the published checkpoint, but for the token numbers of the tests' own tokenizer."""
    tokenizer = tiny_tokenizer.build_tokenizer()
    config = qwen_cases.config_of(qwen_cases.Model("dense", 1, tied=True))
    for key, token in (
        ("image_token_id", "<|image_pad|>"),
        ("video_token_id", "<|video_pad|>"),
        ("vision_start_token_id", "<|vision_start|>"),
        ("vision_end_token_id", "<|vision_end|>"),
    ):
        config[key] = tokenizer.token_to_id(token)
    config["text_config"] |= {
        "vocab_size": VOCABULARY,
        "eos_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "layer_types": ["full_attention" if i % 4 == 3 else "linear_attention" for i in range(shape.layers)],
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": 256,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": shape.value_heads,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "max_position_embeddings": 262_144,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e7,
            "partial_rotary_factor": 0.25,
            "mrope_section": [11, 11, 10],
            "mrope_interleaved": True,
        },
    }
    config["vision_config"] |= {
        "depth": shape.vision_depth,
        "hidden_size": shape.vision_hidden,
        "intermediate_size": shape.vision_inner,
        "num_heads": shape.vision_heads,
        "patch_size": 16,
        "out_hidden_size": shape.hidden,
        "num_position_embeddings": 2304,
    }
    return config


def _noise(seed: int) -> np.ndarray[Any, np.dtype[Any]]:
    noise = np.random.default_rng(seed).standard_normal(1 << 22, np.float32) * np.float32(0.02)
    return noise.astype(ml_dtypes.bfloat16)


def _tensor_bytes(name: str, shape: tuple[int, ...], noise: np.ndarray[Any, Any]) -> Iterator[bytes]:
    if name.endswith("A_log"):
        yield np.full(shape, 0.5, ml_dtypes.bfloat16).tobytes()
        return
    left = prod(shape)
    while left:
        part = noise[:left]
        yield part.tobytes()
        left -= part.size


def write_checkpoint(shape: Shape, folder: Path) -> Path:
    """A checkpoint folder as published: bfloat16 safetensors, tokenizer, template, picture numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(shape)
    shapes = qwen_cases.tensor_shapes(config)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, size in shapes.items():
        header[name] = {
            "dtype": "BF16",
            "shape": list(size),
            "data_offsets": [at, at + 2 * prod(size)],
        }
        at += 2 * prod(size)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    noise = _noise(1)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, size in shapes.items():
            file.writelines(_tensor_bytes(name, size, noise))
    (folder / "config.json").write_text(json.dumps(config))
    numbers = tiny_engine.PREPROCESSOR | {
        "patch_size": 16,
        "size": {"shortest_edge": 65536, "longest_edge": 16777216},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(numbers))
    (folder / "chat_template.jinja").write_text(tiny_tokenizer.CHAT_TEMPLATE)
    tiny_tokenizer.build_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def write_gguf(shape: Shape, path: Path) -> Path:
    """The language model as llama.cpp's converter lays it out, all matrices Q4_0 (blocks of 32, as ours)."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "qwen35")
    writer.add_name(f"random {shape.name}")
    writer.add_context_length(262_144)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(256)
    writer.add_value_length(256)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e7)
    writer.add_rope_dimension_count(64)
    writer.add_rope_dimension_sections([11, 11, 10, 0])
    writer.add_full_attention_interval(4)
    writer.add_ssm_conv_kernel(4)
    writer.add_ssm_state_size(128)
    writer.add_ssm_group_count(16)
    writer.add_ssm_time_step_rank(shape.value_heads)
    writer.add_ssm_inner_size(128 * shape.value_heads)
    writer.add_vocab_size(VOCABULARY)
    _add_tokenizer(writer)

    rng = np.random.default_rng(2)
    blocks = rng.integers(0, 256, (1 << 16, 18), dtype=np.uint8)
    # A Q4_0 block: a float16 scale, then 32 nibbles.
    blocks[:, :2] = np.full((1 << 16, 1), 0.004, np.float16).view(np.uint8)

    def matrix(name: str, out: int, into: int) -> None:
        data = np.resize(blocks.reshape(-1), out * into // 32 * 18).reshape(out, into // 32 * 18)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    def vector(name: str, *size: int, value: float = 1.0) -> None:
        writer.add_tensor(name, np.full(size, value, np.float32))

    values, keys = 128 * shape.value_heads, 128 * 16
    matrix("token_embd", VOCABULARY, shape.hidden)
    vector("output_norm.weight", shape.hidden)
    for i in range(shape.layers):
        block = f"blk.{i}"
        vector(f"{block}.attn_norm.weight", shape.hidden)
        vector(f"{block}.post_attention_norm.weight", shape.hidden)
        if i % 4 == 3:
            matrix(f"{block}.attn_q", 2 * 256 * shape.heads, shape.hidden)
            matrix(f"{block}.attn_k", 256 * shape.kv_heads, shape.hidden)
            matrix(f"{block}.attn_v", 256 * shape.kv_heads, shape.hidden)
            matrix(f"{block}.attn_output", shape.hidden, 256 * shape.heads)
            vector(f"{block}.attn_q_norm.weight", 256)
            vector(f"{block}.attn_k_norm.weight", 256)
        else:
            matrix(f"{block}.attn_qkv", 2 * keys + values, shape.hidden)
            matrix(f"{block}.attn_gate", values, shape.hidden)
            matrix(f"{block}.ssm_beta", shape.value_heads, shape.hidden)
            matrix(f"{block}.ssm_alpha", shape.value_heads, shape.hidden)
            vector(f"{block}.ssm_conv1d.weight", 2 * keys + values, 4, value=0.1)
            vector(f"{block}.ssm_a", shape.value_heads, value=-1.0)
            vector(f"{block}.ssm_dt.bias", shape.value_heads, value=0.1)
            vector(f"{block}.ssm_norm.weight", 128)
            matrix(f"{block}.ssm_out", shape.hidden, values)
        matrix(f"{block}.ffn_gate", shape.inner, shape.hidden)
        matrix(f"{block}.ffn_up", shape.inner, shape.hidden)
        matrix(f"{block}.ffn_down", shape.hidden, shape.inner)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any) -> None:
    """The tests' own tokenizer, so that both write an answer in the same tokens; the rest is never used."""
    import gguf

    tokenizer = tiny_tokenizer.build_tokenizer()
    known = {number: word for word, number in tokenizer.get_vocab().items()}
    special = set(tiny_tokenizer.SPECIAL)
    tokens = [known.get(i, f"<|unused_{i}|>") for i in range(VOCABULARY)]
    kinds = [
        gguf.TokenType.CONTROL if word in special or i not in known else gguf.TokenType.NORMAL
        for i, word in enumerate(tokens)
    ]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen35")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokenizer.token_to_id("<|im_end|>"))
    writer.add_pad_token_id(tokenizer.token_to_id("<|endoftext|>"))
