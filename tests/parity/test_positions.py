"""Positions are those of transformers, for grids, several pictures, clips and long text."""

from __future__ import annotations

import numpy as np
import pytest

from lineside.engines.positions import TextRotary, VisionSpan, token_positions, vision_positions

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize(("grid_h", "grid_w"), [(2, 2), (8, 8), (4, 26), (44, 80), (2, 62)])
@pytest.mark.parametrize(("side", "head_dim"), [(48, 64), (8, 32)])
def test_vision_positions(grid_h: int, grid_w: int, side: int, head_dim: int) -> None:
    from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5VisionConfig
    from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5VisionRotaryEmbedding
    from transformers.vision_utils import (
        get_vision_interpolation_indices_and_weights,
        get_vision_position_ids,
    )

    grid = torch.tensor([[1, grid_h, grid_w]])
    index, weight = get_vision_interpolation_indices_and_weights(
        grid, side, mode="bilinear", align_corners=True, spatial_merge_size=2
    )
    rotary = Qwen3_5VisionRotaryEmbedding(Qwen3_5VisionConfig(hidden_size=head_dim * 4, num_heads=4))
    cos, sin = rotary(torch.zeros(1), get_vision_position_ids(grid, 2))
    theta = rotary.config.rope_parameters["rope_theta"]

    ours = vision_positions(grid_h, grid_w, merge=2, table_side=side, head_dim=head_dim, theta=theta)

    np.testing.assert_array_equal(ours.index, index.numpy().T)
    np.testing.assert_allclose(ours.weight, weight.numpy().T, atol=1e-6)
    np.testing.assert_allclose(ours.cos, cos.numpy(), atol=2e-6)
    np.testing.assert_allclose(ours.sin, sin.numpy(), atol=2e-6)


def small_model() -> object:
    from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5Config
    from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5Model

    text = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "layer_types": ["full_attention"],
    }
    vision = {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 32}
    return Qwen3_5Model(Qwen3_5Config(text_config=text, vision_config=vision))


TEXT, IMAGE, VIDEO = 0, 1, 2


@pytest.mark.parametrize(
    "layout",
    [
        [(TEXT, 7)],
        [(TEXT, 3), (IMAGE, (4, 6)), (TEXT, 5)],
        [(IMAGE, (2, 8)), (TEXT, 2), (IMAGE, (6, 2)), (TEXT, 4)],
        [(TEXT, 2), (VIDEO, (3, 4, 6)), (TEXT, 3)],
        [(TEXT, 1), (IMAGE, (4, 4)), (TEXT, 1), (VIDEO, (2, 2, 6)), (TEXT, 2)],
    ],
)
def test_token_positions(layout: list[tuple[int, object]]) -> None:
    types: list[int] = []
    spans: list[VisionSpan] = []
    images: list[list[int]] = []
    videos: list[list[int]] = []
    for kind, size in layout:
        if kind == TEXT:
            types += [TEXT] * size  # type: ignore[operator]
            continue
        slices, grid_h, grid_w = size if kind == VIDEO else (1, *size)  # type: ignore[misc]
        (videos if kind == VIDEO else images).append([slices, grid_h, grid_w])
        for _ in range(slices):
            if kind == VIDEO:
                types += [TEXT] * 2  # the time stamp between the slices
            spans.append(VisionSpan(len(types), grid_h // 2, grid_w // 2))
            types += [kind] * (grid_h * grid_w // 4)
    ids = torch.zeros((1, len(types)), dtype=torch.long)
    reference, delta = small_model().get_rope_index(  # type: ignore[attr-defined]
        ids,
        torch.tensor([types]),
        torch.tensor(images) if images else None,
        torch.tensor(videos) if videos else None,
    )

    ours = token_positions(len(types), spans)

    np.testing.assert_array_equal(ours.streams, reference[:, 0].numpy())
    assert ours.rope_delta == int(delta[0, 0])


@pytest.mark.parametrize(("head_dim", "section"), [(256, [11, 11, 10]), (64, [4, 2, 2])])
def test_text_rotary(head_dim: int, section: list[int]) -> None:
    from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
    from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5TextRotaryEmbedding

    rope = {
        "rope_type": "default",
        "rope_theta": 1e7,
        "partial_rotary_factor": 0.25,
        "mrope_section": section,
        "mrope_interleaved": True,
    }
    rotary = Qwen3_5TextRotaryEmbedding(Qwen3_5TextConfig(head_dim=head_dim, rope_parameters=rope))
    streams = np.random.default_rng(1).integers(0, 3000, size=(3, 50))
    cos, sin = rotary(torch.zeros(1), torch.from_numpy(streams)[:, None, :])
    dimensions = head_dim // 4

    ours = TextRotary(dimensions, 1e7, section)
    our_cos, our_sin = ours.angles(streams)

    # Angles reach 3000 radians in float32: half a unit in the last place is 1.2e-4.
    np.testing.assert_allclose(our_cos, cos[0, :, : dimensions // 2].numpy(), atol=3e-4)
    np.testing.assert_allclose(our_sin, sin[0, :, : dimensions // 2].numpy(), atol=3e-4)
    plain = np.tile(np.arange(40, 45), (3, 1))
    np.testing.assert_array_equal(ours.angles(plain)[0], ours.text_angles(40, 5)[0])
