"""From a part to the pixels the engine sees: locate, cut the recipe's regions, resize, normalise.

`part_crops` is what training and measuring draw; `engine_pixels` is the image processor's arithmetic.
Does not know models, tokens or answers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

from lineside.engines.demo.belt import Box, belt_texture, lay, random_pose
from lineside.engines.demo.canvas import Image
from lineside.engines.demo.light import Light, photograph, random_light
from lineside.engines.demo.tray import REGIONS, draw_part
from lineside.engines.demo.truth import PartTruth

FACTOR = 16  # patch 8, merged 2 x 2
MIN_PIXELS, MAX_PIXELS = 4096, 5100
"""A crop of aspect 0.81 to 1.24 becomes 64 x 64, a code crop of 3.2 to 4.06 becomes 128 x 32."""
BOX_ERROR = 3.0
_WINDOW = (470, 300)


def smart_resize(height: int, width: int) -> tuple[int, int]:
    """The Qwen image processor's target height and width for this engine's limits."""
    h, w = round(height / FACTOR) * FACTOR, round(width / FACTOR) * FACTOR
    if h * w > MAX_PIXELS:
        beta = math.sqrt(height * width / MAX_PIXELS)
        h = max(FACTOR, math.floor(height / beta / FACTOR) * FACTOR)
        w = max(FACTOR, math.floor(width / beta / FACTOR) * FACTOR)
    elif h * w < MIN_PIXELS:
        beta = math.sqrt(MIN_PIXELS / (height * width))
        h = math.ceil(height * beta / FACTOR) * FACTOR
        w = math.ceil(width * beta / FACTOR) * FACTOR
    return h, w


def cut(picture: Image, box: Box, region: tuple[float, float, float, float]) -> Image:
    """The region of the part whose bounding box is `box`, clipped to the picture."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    left, right = round(x0 + region[0] * w), round(x0 + region[2] * w)
    top, bottom = round(y0 + region[1] * h), round(y0 + region[3] * h)
    return picture[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]


def seen(crop_bgr: Image) -> Image:
    """The RGB uint8 picture that reaches the vision tower: PIL bicubic to the processor's size."""
    h, w = smart_resize(crop_bgr.shape[0], crop_bgr.shape[1])
    rgb = Picture.fromarray(np.ascontiguousarray(crop_bgr[..., ::-1]))
    return np.asarray(rgb.resize((w, h), Picture.Resampling.BICUBIC), dtype=np.uint8)


def engine_pixels(rgb: Image) -> npt.NDArray[np.float32]:
    """Flat patches in merge order, values in [-1, 1], both temporal slots alike: (patches, 3 * 2 * 8 * 8)."""
    h, w = rgb.shape[:2]
    patch = FACTOR // 2
    scaled = (rgb.astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)
    blocks = scaled.reshape(3, h // FACTOR, 2, patch, w // FACTOR, 2, patch).transpose(1, 4, 2, 5, 0, 3, 6)
    still = blocks.reshape(-1, 3, 1, patch, patch)
    return np.ascontiguousarray(np.repeat(still, 2, axis=2).reshape(still.shape[0], -1))


def photographed_part(
    truth: PartTruth, rng: np.random.Generator, light: Light | None = None
) -> tuple[Image, Box]:
    """A window around one part on the belt, as the camera sees it, and where the locator finds the part."""
    art = draw_part(truth, rng)
    w, h = _WINDOW
    texture = belt_texture()
    y, x = int(rng.integers(80, texture.shape[0] - 80 - h)), int(rng.integers(0, texture.shape[1] - w))
    window = texture[y : y + h, x : x + w].copy()
    pose = random_pose(rng, w / 2 + float(rng.uniform(-3, 3)), h / 2 + float(rng.uniform(-3, 3)))
    lay(window, art, pose)
    picture = photograph(window, light or random_light(rng), rng)
    x0, y0, x1, y1 = (
        v + float(e) for v, e in zip(pose.box(), rng.uniform(-BOX_ERROR, BOX_ERROR, 4), strict=True)
    )
    return picture, (x0, y0, x1, y1)


def part_crops(truth: PartTruth, rng: np.random.Generator, light: Light | None = None) -> dict[str, Image]:
    """The raw BGR crop of every recipe region of one randomly placed part."""
    picture, box = photographed_part(truth, rng, light)
    return {name: cut(picture, box, region) for name, region in REGIONS.items()}
