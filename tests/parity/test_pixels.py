"""Pixel values and grids are those of the live transformers processors.

Pictures: bit for bit with the Pillow backend (what transformers uses where torchvision is missing), and
within one of 256 levels of the torchvision backend. Clips: the processor needs torchvision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lineside.engines.base import Clip
from lineside.engines.pixels import PatchMaker, read_numbers

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.parity

QWEN3_5: dict[str, Any] = {
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": {"shortest_edge": 65536, "longest_edge": 16777216},
}
OTHER = QWEN3_5 | {
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
    "patch_size": 8,
    "size": {"shortest_edge": 1024, "longest_edge": 9000},
}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, size=(*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("numbers", [QWEN3_5, OTHER])
@pytest.mark.parametrize("size", [(64, 64), (480, 640), (720, 1280), (33, 210), (7, 9), (300, 41)])
def test_pictures_equal_the_pillow_backend(numbers: dict[str, Any], size: tuple[int, int]) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    image = noise(*size)
    reference = Qwen2VLImageProcessorPil(**numbers)(image, return_tensors="np")
    ours = PatchMaker(read_numbers(numbers)).picture(image)
    assert [1, ours.grid_h, ours.grid_w] == reference["image_grid_thw"][0].tolist()
    np.testing.assert_array_equal(ours.values[0], reference["pixel_values"])


def import_torchvision() -> None:
    """Skips where torchvision is missing, or is built for another torch."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as missing:
        pytest.skip(
            f"torchvision cannot be imported ({missing}): tests/engines/test_pixels.py compares a recording"
        )


@pytest.mark.parametrize("size", [(480, 640), (33, 210)])
def test_pictures_are_within_a_level_of_the_torchvision_backend(size: tuple[int, int]) -> None:
    import_torchvision()
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    image = noise(*size)
    reference = Qwen2VLImageProcessor(**QWEN3_5)(image, return_tensors="pt")
    ours = PatchMaker(read_numbers(QWEN3_5)).picture(image)
    assert np.abs(ours.values[0] - reference["pixel_values"].numpy()).max() <= 1.01 / 127.5


@pytest.mark.parametrize("size", [(4, 64, 96), (5, 120, 90), (2, 16, 300)])
def test_clips_are_within_a_level_of_the_torchvision_backend(size: tuple[int, int, int]) -> None:
    import_torchvision()
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    frames = noise(*size)
    processor = Qwen3VLVideoProcessor(**OTHER, cap_pixels_per_frame=False)
    video = torch.from_numpy(frames.transpose(0, 3, 1, 2).copy())
    reference = processor([video], do_sample_frames=False, return_tensors="pt")
    ours = PatchMaker(read_numbers(OTHER)).clip(Clip(frames, fps=8))
    assert [len(ours.values), ours.grid_h, ours.grid_w] == reference["video_grid_thw"][0].tolist()
    values = reference["pixel_values_videos"].numpy()
    assert np.abs(ours.values.reshape(values.shape) - values).max() <= 1.01 / 255 / 0.26
