"""Pictures and clips become the patches that the recorded transformers processor made of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.engines.base import Clip
from lineside.engines.errors import BadImage, UnsupportedModel
from lineside.engines.pixels import PatchMaker, clip_size, picture_size, read_numbers

NUMBERS: dict[str, Any] = {
    "patch_size": 8,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.4, 0.45],
    "image_std": [0.5, 0.3, 0.25],
    "size": {"shortest_edge": 1024, "longest_edge": 4096},
}
LEVEL = 1 / 255 / 0.25  # one of the 256 levels, in the channel with the smallest standard deviation


def drawn(height: int, width: int, seed: int) -> np.ndarray:
    """The picture that `tests/parity/record_pixels.py` draws."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / generator.uniform(2, 9) + columns / generator.uniform(2, 9)) for _ in range(3)]
    edges = ((rows // 7 + columns // 5) % 2) * 60
    return np.clip(np.stack(waves, axis=-1) * 80 + 120 + edges[..., None], 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "data" / "pixels.npz") as file:
        return dict(file)


def assert_same_pixels(ours: np.ndarray, reference: np.ndarray) -> None:
    """Equal but for resampling: torchvision's bicubic rounds a pixel in a hundred to the next level."""
    off = np.abs(ours - reference)
    assert off.max() <= LEVEL * 1.01
    assert (off > 1e-5).mean() < 0.02


@pytest.mark.parametrize(
    ("index", "size"), [(0, (48, 48)), (1, (100, 75)), (2, (20, 130)), (3, (9, 7)), (4, (64, 80))]
)
def test_a_picture(recorded: dict[str, np.ndarray], index: int, size: tuple[int, int]) -> None:
    patches = PatchMaker(read_numbers(NUMBERS)).picture(drawn(*size, index))
    assert [1, patches.grid_h, patches.grid_w] == recorded[f"picture.{index}.grid"].tolist()
    assert patches.seconds == ()
    assert_same_pixels(patches.values[0], recorded[f"picture.{index}.values"])


def test_a_picture_that_needs_no_resizing_is_exact(recorded: dict[str, np.ndarray]) -> None:
    patches = PatchMaker(read_numbers(NUMBERS)).picture(drawn(48, 48, 0))
    np.testing.assert_allclose(patches.values[0], recorded["picture.0.values"], atol=1e-6)


@pytest.mark.parametrize(
    ("index", "size", "seconds"), [(0, (4, 48, 40), (0.05, 0.25)), (1, (5, 30, 50), (0.05, 0.25, 0.4))]
)
def test_a_clip(
    recorded: dict[str, np.ndarray], index: int, size: tuple[int, int, int], seconds: tuple[float, ...]
) -> None:
    frames = np.stack([drawn(*size[1:], 50 + index + frame) for frame in range(size[0])])
    patches = PatchMaker(read_numbers(NUMBERS)).clip(Clip(frames, fps=10))
    grid = recorded[f"clip.{index}.grid"].tolist()
    assert [len(patches.values), patches.grid_h, patches.grid_w] == grid
    assert patches.seconds == pytest.approx(seconds)
    reference = recorded[f"clip.{index}.values"]
    assert_same_pixels(patches.values.reshape(reference.shape), reference)


def test_equal_channels_take_the_short_way_to_the_same_values() -> None:
    numbers = NUMBERS | {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    image = drawn(48, 48, 3)
    values = PatchMaker(read_numbers(numbers)).picture(image).values
    first = image[:8, :8].transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(values[0, 0].reshape(3, 2, 8, 8), np.stack([first, first], axis=1), atol=1e-6)


def test_a_half_rounds_to_even_as_the_reference_does() -> None:
    numbers = read_numbers(
        NUMBERS | {"patch_size": 16, "size": {"shortest_edge": 65536, "longest_edge": 1 << 24}}
    )
    assert picture_size(720, 1280, numbers) == (704, 1280)


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    frames=st.integers(2, 9),
)
def test_sizes_are_whole_blocks_within_the_limit(height: int, width: int, frames: int) -> None:
    numbers = read_numbers(NUMBERS | {"size": {"shortest_edge": 4096, "longest_edge": 65536}})
    for count, size in ((1, picture_size), (frames, lambda h, w, n: clip_size(frames, h, w, n))):
        if max(height, width) > 200 * min(height, width):
            continue
        fit_height, fit_width = size(height, width, numbers)
        assert fit_height % 16 == 0 == fit_width % 16
        assert min(fit_height, fit_width) >= 16
        # A side is never less than a block, which lets very long pictures over the limit.
        assert count * fit_height * fit_width <= 65536 * 1.3 or min(fit_height, fit_width) == 16


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.zeros((8, 8, 3), np.float32), "float32"),
        (np.zeros((8, 8), np.uint8), r"\(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"\(8, 8, 4\)"),
        (np.zeros((0, 8, 3), np.uint8), r"\(0, 8, 3\)"),
        (np.zeros((1, 300, 3), np.uint8), "200 times"),
    ],
)
def test_what_is_no_picture_is_refused(pixels: np.ndarray, says: str) -> None:
    with pytest.raises(BadImage, match=says):
        PatchMaker(read_numbers(NUMBERS)).picture(pixels)


@pytest.mark.parametrize(
    ("clip", "says"),
    [
        (Clip(np.zeros((1, 32, 32, 3), np.uint8), 10), "at least 2 frames"),
        (Clip(np.zeros((4, 32, 32, 3), np.uint8), 0), "frames a second"),
        (Clip(np.zeros((32, 32, 3), np.uint8), 10), r"\(32, 32, 3\)"),
    ],
)
def test_what_is_no_clip_is_refused(clip: Clip, says: str) -> None:
    with pytest.raises(BadImage, match=says):
        PatchMaker(read_numbers(NUMBERS)).clip(clip)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"resample": 2}, "resample"),
        ({"do_normalize": False}, "do_normalize"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"size": {"height": 3, "width": 3}}, "pixel limits"),
        ({"patch_size": None}, "patch_size"),
    ],
)
def test_numbers_that_are_not_implemented_are_refused(change: dict[str, Any], says: str) -> None:
    config = {key: value for key, value in (NUMBERS | change).items() if value is not None}
    with pytest.raises(UnsupportedModel, match=says):
        read_numbers(config)


def test_a_clip_may_have_limits_of_its_own() -> None:
    numbers = read_numbers(NUMBERS, NUMBERS | {"size": {"shortest_edge": 64, "longest_edge": 999}})
    assert (numbers.max_pixels, numbers.clip_max_pixels) == (4096, 999)
    with pytest.raises(UnsupportedModel, match="different patch_size"):
        read_numbers(NUMBERS, NUMBERS | {"patch_size": 4})


def test_the_recorder_draws_the_same_pictures() -> None:
    pytest.importorskip("torch")
    path = Path(__file__).parent.parent / "parity" / "record_pixels.py"
    spec = importlib.util.spec_from_file_location("record_pixels", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    np.testing.assert_array_equal(module.picture(20, 30, 4), drawn(20, 30, 4))
    assert module.NUMBERS == NUMBERS
