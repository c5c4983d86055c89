"""Random engines of the real architecture: a checkpoint from a seed with a tokenizer that fits, bundled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import qwen_cases
from safetensors.numpy import save_file
from tiny_tokenizer import CHAT_TEMPLATE, build_tokenizer

from lineside.engines.build import build_bundle

PADDING = 12  # logits beyond the tokenizer, as the real checkpoints have them
PREPROCESSOR: dict[str, Any] = {
    "patch_size": 4,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": {"shortest_edge": 256, "longest_edge": 2048},
}


def write_checkpoint(folder: Path, family: Literal["dense", "moe"], seed: int = 7) -> Path:
    """A checkpoint folder as transformers would save it."""
    tokenizer = build_tokenizer()
    config = qwen_cases.config_of(qwen_cases.Model(family, 2, tied=True))
    config["text_config"]["vocab_size"] = tokenizer.get_vocab_size() + PADDING
    config["text_config"]["eos_token_id"] = tokenizer.token_to_id("<|endoftext|>")
    for key, token in (
        ("image_token_id", "<|image_pad|>"),
        ("video_token_id", "<|video_pad|>"),
        ("vision_start_token_id", "<|vision_start|>"),
        ("vision_end_token_id", "<|vision_end|>"),
    ):
        config[key] = tokenizer.token_to_id(token)
    shapes = qwen_cases.tensor_shapes(config)
    tensors = {name: qwen_cases.random_tensor(name, shape, seed) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def build(checkpoint: Path, out: Path, **fields: Any) -> Path:
    """The checkpoint's bundle at `out`."""
    build_bundle(
        checkpoint,
        out,
        name="tiny",
        version="0.0.1",
        licence="Apache-2.0",
        source={"model": "random", "revision": "seed 7"},
        **fields,
    )
    return out
