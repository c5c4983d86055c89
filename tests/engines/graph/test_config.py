"""Which configurations are read, and which are refused with the key, its value and what is supported."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qwen_cases import Model, config_of

from lineside.engines.config import DenseMlpConfig, ModelConfig, MoeConfig, parse_config, read_config
from lineside.engines.errors import UnsupportedModel

ROPE = {
    "rope_theta": 10_000_000,
    "partial_rotary_factor": 0.25,
    "mrope_section": [11, 11, 10],
    "mrope_interleaved": True,
}


def _published(
    text: dict[str, Any], vision: dict[str, int], *, tied: bool, kind: str = "qwen3_5"
) -> dict[str, Any]:
    return {
        "model_type": kind,
        "image_token_id": 248056,
        "video_token_id": 248057,
        "vision_start_token_id": 248053,
        "vision_end_token_id": 248054,
        "tie_word_embeddings": tied,
        "text_config": {
            "vocab_size": 248320,
            "head_dim": 256,
            "full_attention_interval": 4,
            "linear_num_key_heads": 16,
            "linear_key_head_dim": 128,
            "linear_value_head_dim": 128,
            "linear_conv_kernel_dim": 4,
            "rms_norm_eps": 1e-6,
            "max_position_embeddings": 262144,
            "attn_output_gate": True,
            "attention_bias": False,
            "mtp_num_hidden_layers": 1,
            "mamba_ssm_dtype": "float32",
            "rope_parameters": ROPE,
            **text,
        },
        "vision_config": {
            "in_channels": 3,
            "patch_size": 16,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [],
            "hidden_act": "gelu_pytorch_tanh",
            **vision,
        },
    }


def _sizes(
    hidden: int, layers: int, heads: int, kv_heads: int, value_heads: int, **mlp: int
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "linear_num_value_heads": value_heads,
        **mlp,
    }


def _tower(depth: int, hidden: int, inner: int, heads: int, out: int) -> dict[str, int]:
    return {
        "depth": depth,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_heads": heads,
        "out_hidden_size": out,
    }


DENSE = {
    "0.8B": (_sizes(1024, 24, 8, 2, 16, intermediate_size=3584), _tower(12, 768, 3072, 12, 1024), True),
    "2B": (_sizes(2048, 24, 8, 2, 16, intermediate_size=6144), _tower(24, 1024, 4096, 16, 2048), True),
    "4B": (_sizes(2560, 32, 16, 4, 32, intermediate_size=9216), _tower(24, 1024, 4096, 16, 2560), True),
    "9B": (_sizes(4096, 32, 16, 4, 32, intermediate_size=12288), _tower(27, 1152, 4304, 16, 4096), False),
}
EXPERTS = {
    "num_experts": 256,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
}
PUBLISHED = {
    **{size: _published(text, vision, tied=tied) for size, (text, vision, tied) in DENSE.items()},
    "35B-A3B": _published(
        _sizes(2048, 40, 16, 2, 32, **EXPERTS),
        _tower(27, 1152, 4304, 16, 2048),
        tied=False,
        kind="qwen3_5_moe",
    ),
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_the_published_shapes_are_read(size: str) -> None:
    raw = PUBLISHED[size]
    config = parse_config(raw)
    text = config.text
    assert text.layer_types.count("full_attention") * 4 == len(text.layer_types)
    assert text.layer_types[3] == "full_attention"
    assert text.rope.rotary_dim == 64
    assert text.linear.conv_channels == (6144 if text.linear.value_heads == 16 else 8192)
    assert text.tied_head is raw["tie_word_embeddings"]
    assert config.vision is not None
    assert config.vision.position_side == 48
    assert config.vision.head_dim == raw["vision_config"]["hidden_size"] // raw["vision_config"]["num_heads"]


def test_the_family_decides_the_mlp() -> None:
    assert parse_config(PUBLISHED["2B"]).text.mlp == DenseMlpConfig(6144)
    assert parse_config(PUBLISHED["35B-A3B"]).text.mlp == MoeConfig(256, 8, 512, 512)


def test_a_text_only_model_has_no_vision() -> None:
    text = {**config_of(Model("dense", 2, tied=True))["text_config"], "eos_token_id": [3, 4]}
    config = parse_config(text)
    assert config.vision is None
    assert config.tokens is None
    assert config.text.tied_head
    assert config.end_token_ids == (3, 4)


REFUSED = [
    ("model_type", "llama"),
    ("quantization_config", {"quant_method": "gptq"}),
    ("text_config.hidden_act", "gelu"),
    ("text_config.attention_bias", True),
    ("text_config.attn_output_gate", False),
    ("text_config.sliding_window", 4096),
    ("text_config.mlp_only_layers", [0]),
    ("text_config.decoder_sparse_step", 2),
    ("text_config.norm_topk_prob", False),
    ("text_config.layer_types", ["mamba"] * 5),
    ("text_config.layer_types", ["full_attention"]),
    ("text_config.num_key_value_heads", 3),
    ("text_config.linear_num_value_heads", 3),
    ("text_config.num_experts_per_tok", 7),
    ("text_config.hidden_size", "48"),
    ("text_config.hidden_size", True),
    ("text_config.hidden_size", 0),
    ("text_config.rms_norm_eps", -1.0),
    ("text_config.linear_conv_kernel_dim", 1),
    ("text_config.rope_scaling", {"rope_type": "yarn"}),
    ("text_config.rope_parameters.rope_type", "yarn"),
    ("text_config.rope_parameters.mrope_interleaved", False),
    ("text_config.rope_parameters.mrope_section", [2, 2, 1]),
    ("text_config.eos_token_id", "end"),
    ("vision_config.hidden_act", "silu"),
    ("vision_config.deepstack_visual_indexes", [1]),
    ("vision_config.num_position_embeddings", 37),
    ("vision_config.num_heads", 3),
    ("vision_config.patch_size", [4, 8]),
    ("vision_config.rope_parameters.rope_type", "yarn"),
]


def _with(raw: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(raw)
    *sections, key = path.split(".")
    place = changed
    for section in sections:
        place = place[section]
    place[key] = value
    return changed


@pytest.mark.parametrize(("path", "value"), REFUSED, ids=lambda v: json.dumps(v))
def test_what_is_not_implemented_is_refused_by_key_and_value(path: str, value: object) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        parse_config(_with(config_of(Model("moe", 2, tied=False)), path, value))
    message = str(caught.value)
    assert path.rsplit(".", 1)[-1] in message
    assert json.dumps(value) in message or json.dumps("mamba") in message
    assert "supported" in message


def test_a_missing_size_is_refused_and_never_guessed() -> None:
    raw = config_of(Model("moe", 1, tied=False))
    for section in ("text_config", "vision_config"):
        for key, value in raw[section].items():
            if isinstance(value, int) and not isinstance(value, bool):
                poorer = _with(raw, f"{section}.{key}", None)
                with pytest.raises(UnsupportedModel, match=key):
                    parse_config(poorer)


def test_vision_and_decoder_must_fit_together() -> None:
    with pytest.raises(UnsupportedModel, match="out_hidden_size is 64"):
        parse_config(_with(config_of(Model("dense", 1, tied=True)), "vision_config.out_hidden_size", 64))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 600) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SMALL = config_of(Model("moe", 2, tied=True))
KEYS = sorted(
    {*SMALL, *(f"{part}.{key}" for part in ("text_config", "vision_config") for key in SMALL[part])}
)


@given(path=st.sampled_from(KEYS), value=json_values)
def test_any_value_anywhere_is_read_or_refused(path: str, value: object) -> None:
    try:
        config = parse_config(_with(SMALL, path, value))
    except UnsupportedModel:
        return
    assert isinstance(config, ModelConfig)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"model_type": 3}', "{}"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UnsupportedModel):
        read_config(tmp_path)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"config\.json"):
        read_config(tmp_path)
