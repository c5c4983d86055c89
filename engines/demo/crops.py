"""From a part to the pixels the engine sees: locate, cut the recipe's regions, resize, normalise.

`part_crops` is what training and measuring draw; `seen` and `engine_pixels` are what the runtime does to it.
Does not know models, tokens or answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

from lineside.engines.demo.belt import Box, belt_texture, lay, random_pose
from lineside.engines.demo.canvas import Image, Plane
from lineside.engines.demo.light import Light, photograph, random_light
from lineside.engines.demo.tray import REGIONS, draw_part
from lineside.engines.demo.truth import PartTruth
from lineside.engines.pixels import PatchMaker, picture_size, read_numbers

PREPROCESSOR: dict[str, object] = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen3VLProcessor",
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "do_convert_rgb": True,
    "size": {"shortest_edge": 4096, "longest_edge": 5100},
    "patch_size": 8,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "resample": 3,
    "rescale_factor": 1 / 255,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
"""The checkpoint's `preprocessor_config.json`. With these limits every crop becomes 64 patches: one of aspect
0.81 to 1.24 becomes 64 x 64, one of 3.2 to 4.06 becomes 128 x 32."""
NUMBERS = read_numbers(PREPROCESSOR)
_MAKER = PatchMaker(NUMBERS)
BOX_ERROR = 3.0
_WINDOW = (470, 300)
Pixels = TypeVar("Pixels", Image, Plane)


def cut(picture: Pixels, box: Box, region: tuple[float, float, float, float]) -> Pixels:
    """The region of the part whose bounding box is `box`, clipped to the picture."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    left, right = round(x0 + region[0] * w), round(x0 + region[2] * w)
    top, bottom = round(y0 + region[1] * h), round(y0 + region[3] * h)
    return picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]


def seen(crop_bgr: Image) -> Image:
    """The RGB picture that reaches the vision tower, resized as the runtime does."""
    h, w = picture_size(crop_bgr.shape[0], crop_bgr.shape[1], NUMBERS)
    rgb = Picture.fromarray(np.ascontiguousarray(crop_bgr[..., ::-1]))
    return np.asarray(rgb.resize((w, h), Picture.Resampling.BICUBIC), dtype=np.uint8)


def engine_pixels(rgb: Image) -> npt.NDArray[np.float32]:
    """Flat normalised patches in merge order (patches, 3 * 2 * 8 * 8), made by the runtime's own code."""
    patches: npt.NDArray[np.float32] = _MAKER.picture(rgb).values[0]
    return patches


@dataclass(frozen=True)
class Shot:
    """A window around one part as the camera sees it, where the locator finds it, where its flaw lies."""

    picture: Image
    box: Box
    flaw: Plane | None


def shoot(truth: PartTruth, rng: np.random.Generator, light: Light | None = None) -> Shot:
    """Draw a part, lay it on the belt as it may come, photograph and locate it."""
    art = draw_part(truth, rng)
    w, h = _WINDOW
    texture = belt_texture()
    y, x = int(rng.integers(80, texture.shape[0] - 80 - h)), int(rng.integers(0, texture.shape[1] - w))
    window = texture[y : y + h, x : x + w].copy()
    pose = random_pose(rng, w / 2 + float(rng.uniform(-3, 3)), h / 2 + float(rng.uniform(-3, 3)))
    lay(window, art, pose)
    picture = photograph(window, light or random_light(rng), rng)
    errors = rng.uniform(-BOX_ERROR, BOX_ERROR, 4)
    x0, y0, x1, y1 = (v + float(e) for v, e in zip(pose.box(), errors, strict=True))
    flaw = None
    if art.flaw is not None:
        flaw = np.asarray(cv2.warpAffine(art.flaw, pose.matrix(), _WINDOW), dtype=np.float32)
    return Shot(picture, (x0, y0, x1, y1), flaw)


def crops_of(shot: Shot) -> dict[str, Image]:
    """The raw BGR crop of every recipe region."""
    return {name: cut(shot.picture, shot.box, region) for name, region in REGIONS.items()}


def part_crops(truth: PartTruth, rng: np.random.Generator, light: Light | None = None) -> dict[str, Image]:
    """The raw BGR crop of every recipe region of one randomly placed part."""
    return crops_of(shoot(truth, rng, light))


def flawed_patches(shot: Shot) -> npt.NDArray[np.float32]:
    """Which of the cap crop's 64 patches, in merge order, show a crack or a stain (1, else 0)."""
    if shot.flaw is None:
        return np.zeros(64, dtype=np.float32)
    flaw = cut(shot.flaw, shot.box, REGIONS["cap"])
    grid = cv2.resize(flaw, (64, 64), interpolation=cv2.INTER_AREA).reshape(8, 8, 8, 8).max(axis=(1, 3))
    shown: npt.NDArray[np.float32] = (grid > 0.25).astype(np.float32)
    return shown.reshape(4, 2, 4, 2).transpose(0, 2, 1, 3).reshape(64)
