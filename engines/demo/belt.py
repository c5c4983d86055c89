"""The conveyor: a dark woven belt between steel rails, and how a tray lies on it.

Knows poses and bounding boxes in frame pixels. Does not know light or camera noise: `light.py` adds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from lineside.engines.demo.canvas import SUPERSAMPLE, Image, blend, disc, grain
from lineside.engines.demo.tray import HEIGHT, MARGIN, WIDTH, TrayArt

FRAME_WIDTH, FRAME_HEIGHT = 960, 540
RAIL = 74  # camera pixels of steel above and below the belt
_LOOP = 1920  # the belt's pattern repeats after this many pixels
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Pose:
    """Where a tray lies: centre in pixels, turn in degrees, size against nominal."""

    x: float
    y: float
    degrees: float = 0.0
    scale: float = 1.0

    def matrix(self) -> npt.NDArray[np.float64]:
        """The affine map from tray canvas to frame pixels."""
        turn, size = np.radians(self.degrees), self.scale / SUPERSAMPLE
        linear = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        middle = np.array([MARGIN + WIDTH * SUPERSAMPLE / 2, MARGIN + HEIGHT * SUPERSAMPLE / 2])
        return np.hstack([linear, (np.array([self.x, self.y]) - linear @ middle)[:, None]])

    def box(self) -> Box:
        """The tray's upright bounding box x0, y0, x1, y1."""
        turn = np.radians(self.degrees)
        c, s = abs(float(np.cos(turn))), abs(float(np.sin(turn)))
        w, h = self.scale * (WIDTH * c + HEIGHT * s), self.scale * (WIDTH * s + HEIGHT * c)
        return (self.x - w / 2, self.y - h / 2, self.x + w / 2, self.y + h / 2)


def random_pose(rng: np.random.Generator, x: float, y: float) -> Pose:
    """A pose as the belt guide allows: turned up to four degrees, six per cent nearer or farther."""
    degrees = float(np.clip(rng.normal(0, 1.8), -4, 4))
    return Pose(x, y, degrees, float(np.clip(rng.normal(1, 0.025), 0.94, 1.06)))


@lru_cache(maxsize=1)
def belt_texture() -> Image:
    """One loop of the belt, as high as a frame."""
    yy, xx = np.mgrid[0:FRAME_HEIGHT, 0:_LOOP].astype(np.float32)
    period = 2 * np.pi / _LOOP
    weave = 3.2 * np.sin(xx * period * 320 + yy * 0.9) + 3.2 * np.sin(xx * period * 320 - yy * 0.9)
    wear = 4.0 * grain(FRAME_HEIGHT, _LOOP, 41, 9.0, 6.0) + 3.0 * grain(FRAME_HEIGHT, _LOOP, 42, 0.7)
    levels = 56.0 + weave + wear
    for x in (310, 1270):  # the belt's lacing
        levels[:, x : x + 3] -= 16.0
        levels[:, x + 3 : x + 5] += 12.0
    belt = levels[..., None] + np.array([4.0, 1.0, -3.0], dtype=np.float32)
    texture: Image = np.clip(belt, 0, 255).astype(np.uint8)
    return texture


@lru_cache(maxsize=1)
def _rail() -> Image:
    yy = np.linspace(0, 1, RAIL, dtype=np.float32)[:, None]
    brushed = 7.0 * grain(RAIL, FRAME_WIDTH, 43, 0.6, 30.0)
    steel = 128.0 + 46.0 * np.sin(yy * np.pi * 0.9) + brushed
    steel[-9:] = 34.0
    steel[-12:-9] = 206.0
    tint = np.array([4.0, 1.0, -1.0], dtype=np.float32)
    rail: Image = np.clip(steel[..., None] + tint, 0, 255).astype(np.uint8)
    for x in range(60, FRAME_WIDTH, 210):
        disc(rail, (x + 1.5, 31.5), 11, (70, 70, 70))
        disc(rail, (x, 30), 10, (176, 176, 174))
        disc(rail, (x, 30), 4.5, (64, 64, 66))
    return rail


def empty_belt(travelled: float) -> Image:
    """A frame of bare conveyor after the belt has travelled so many pixels to the right."""
    shift = round(travelled) % _LOOP
    frame: Image = np.take(belt_texture(), np.arange(FRAME_WIDTH) - shift, axis=1, mode="wrap")
    frame[:RAIL] = _rail()
    frame[-RAIL:] = _rail()[::-1]
    shadow = np.linspace(0.55, 1.0, 26, dtype=np.float32)[:, None, None]
    frame[RAIL : RAIL + 26] = (frame[RAIL : RAIL + 26] * shadow).astype(np.uint8)
    return frame


def lay(frame: Image, art: TrayArt, pose: Pose) -> None:
    """Lay a tray on the frame in place, with its shadow; parts outside the frame are cut off."""
    x0, y0, x1, y1 = pose.box()
    left, top = max(0, int(x0) - 2), max(0, int(y0) - 2)
    right, bottom = min(frame.shape[1], int(x1) + 14), min(frame.shape[0], int(y1) + 14)
    if right <= left or bottom <= top:
        return
    matrix = pose.matrix()
    matrix[:, 2] -= (left, top)
    size = (right - left, bottom - top)
    tray = cv2.warpAffine(art.image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = np.asarray(cv2.warpAffine(art.alpha, matrix, size, flags=cv2.INTER_LINEAR), dtype=np.float32)
    cast = cv2.warpAffine(art.alpha, matrix + np.array([[0, 0, 7], [0, 0, 8]]), size)
    spot = frame[top:bottom, left:right]
    blend(spot, (0, 0, 0), np.asarray(cv2.blur(cast, (9, 9)), dtype=np.float32) * np.float32(0.55))
    blend(spot, tray, alpha)
