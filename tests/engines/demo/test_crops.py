"""Crops reach the engine as training saw them, whatever the part's pose."""

from __future__ import annotations

import numpy as np
import pytest

from lineside.engines.demo.conditions import CONDITIONS
from lineside.engines.demo.crops import crops_of, cut, engine_pixels, flawed_patches, part_crops, seen, shoot
from lineside.engines.demo.tray import REGIONS
from lineside.engines.demo.truth import PartTruth, balanced_truth


def test_every_crop_becomes_sixty_four_patches() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        crops = part_crops(balanced_truth(rng), rng)
        assert seen(crops["cap"]).shape == (64, 64, 3)
        assert seen(crops["blister"]).shape == (64, 64, 3)
        assert seen(crops["code"]).shape == (32, 128, 3)


def test_patches_are_normalised_in_merge_order() -> None:
    picture = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)

    patches = engine_pixels(picture).reshape(64, 3, 2, 8, 8)

    wanted = picture.astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(patches[0, :, 0], wanted[:8, :8].transpose(2, 0, 1), atol=1e-6)
    np.testing.assert_allclose(patches[1, :, 1], wanted[:8, 8:16].transpose(2, 0, 1), atol=1e-6)
    np.testing.assert_allclose(patches[2, :, 0], wanted[8:16, :8].transpose(2, 0, 1), atol=1e-6)
    np.testing.assert_allclose(patches[4, :, 0], wanted[:8, 16:24].transpose(2, 0, 1), atol=1e-6)


def test_the_same_seed_shoots_the_same_part() -> None:
    truth = PartTruth("stained", 3, "B10307", False, 0.5)
    first, again = (part_crops(truth, np.random.default_rng(9)) for _ in range(2))

    for name in REGIONS:
        np.testing.assert_array_equal(first[name], again[name])


def test_flawed_patches_are_darker_than_the_same_patches_of_a_sound_cap() -> None:
    good = flawed_patches(shoot(PartTruth("ok", 6, "K48217", True), np.random.default_rng(1)))
    shot = shoot(PartTruth("stained", 6, "K48217", True, 1.0), np.random.default_rng(1))
    marked = flawed_patches(shot)

    assert not good.any()
    assert 3 <= marked.sum() <= 24
    blue = engine_pixels(seen(crops_of(shot)["cap"])).reshape(64, 3, -1)[:, 2].mean(-1)
    assert blue[marked > 0].mean() < blue.mean()


def test_a_region_reaching_outside_the_picture_is_clipped() -> None:
    picture = np.zeros((100, 100, 3), dtype=np.uint8)

    assert cut(picture, (-50, -50, 50, 50), (0.0, 0.0, 1.0, 1.0)).shape == (50, 50, 3)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_draw_every_region(condition: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(6):
        crops = CONDITIONS[condition](balanced_truth(rng), rng)
        assert set(crops) == set(REGIONS)
        assert all(min(crop.shape) >= 3 and crop.std() > 0 for crop in crops.values())
