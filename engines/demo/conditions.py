"""Conditions the demo engine was not trained on, drawn for measuring: the right answer there is "cannot
decide".

Each condition draws the raw crops of one part, as `crops.part_crops` does for the station as commissioned.
Does not know engines or thresholds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from lineside.engines.demo.belt import belt_texture, lay, random_pose
from lineside.engines.demo.canvas import Image
from lineside.engines.demo.crops import cut, part_crops, shoot
from lineside.engines.demo.light import photograph, random_light
from lineside.engines.demo.tray import REGIONS, TrayArt, draw_part
from lineside.engines.demo.truth import PartTruth

Crops = dict[str, Image]
Condition = Callable[[PartTruth, np.random.Generator], Crops]


def dimmer_light(truth: PartTruth, rng: np.random.Generator) -> Crops:
    """A lamp has failed: 35 to 60 per cent of the light, with the noise of a raised gain."""
    light = replace(random_light(rng), gain=float(rng.uniform(0.35, 0.6)), noise=float(rng.uniform(5, 8)))
    return part_crops(truth, rng, light)


def glare(truth: PartTruth, rng: np.random.Generator) -> Crops:
    """Sun on the station: 150 to 200 per cent of the light."""
    return part_crops(truth, rng, replace(random_light(rng), gain=float(rng.uniform(1.5, 2.0))))


def defocus(truth: PartTruth, rng: np.random.Generator) -> Crops:
    """The lens has moved: blur of three to five pixels."""
    return part_crops(truth, rng, replace(random_light(rng), blur=float(rng.uniform(3.0, 5.0))))


def shifted_camera(truth: PartTruth, rng: np.random.Generator) -> Crops:
    """The camera was knocked: regions sit 30 to 60 px from where they should."""
    shot = shoot(truth, rng)
    picture, (x0, y0, x1, y1) = shot.picture, shot.box
    angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(30, 60)
    dx, dy = reach * float(np.cos(angle)), reach * float(np.sin(angle))
    h, w = picture.shape[:2]
    margin = 80
    wide = cv2.copyMakeBorder(picture, margin, margin, margin, margin, cv2.BORDER_REFLECT)
    box = (x0 + dx + margin, y0 + dy + margin, x1 + dx + margin, y1 + dy + margin)
    return {
        name: cut(np.asarray(wide[: h + 2 * margin, : w + 2 * margin]), box, r) for name, r in REGIONS.items()
    }


def another_product(truth: PartTruth, rng: np.random.Generator) -> Crops:
    """A changeover nobody told the recipe of: other colours throughout and light print on a dark label."""
    art = draw_part(truth, rng)
    hsv = cv2.cvtColor(art.image, cv2.COLOR_BGR2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + int(rng.integers(50, 130))) % 180
    image = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), dtype=np.uint8)
    image[330:, 220:690] = 255 - image[330:, 220:690]
    window = belt_texture()[100:400, 600:1070].copy()
    pose = random_pose(rng, 235, 150)
    lay(window, TrayArt(image, art.alpha), pose)
    picture = photograph(window, random_light(rng), rng)
    return {name: cut(picture, pose.box(), region) for name, region in REGIONS.items()}


def no_part(truth: PartTruth, rng: np.random.Generator) -> Crops:
    """Nothing there: the regions look at bare belt."""
    del truth
    y, x = int(rng.integers(80, 160)), int(rng.integers(0, 1400))
    picture = photograph(belt_texture()[y : y + 300, x : x + 470].copy(), random_light(rng), rng)
    return {name: cut(picture, (35.0, 40.0, 435.0, 260.0), region) for name, region in REGIONS.items()}


CONDITIONS: dict[str, Condition] = {
    "dimmer light": dimmer_light,
    "glare": glare,
    "defocus": defocus,
    "shifted camera": shifted_camera,
    "another product": another_product,
    "no part": no_part,
}
