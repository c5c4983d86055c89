"""The trigger's region of the frame at a reduced size: quick to look at, and fine noise averages out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside.daemon.triggers.motion.rect import Rect
from lineside.daemon.values import Box, Picture

LONGER_SIDE = 240
"""Pixels of the reduced view's longer side."""

Reduced = NDArray[np.float32]
"""(height, width, 3) BGR grey levels."""


@dataclass(frozen=True, slots=True)
class View:
    """How the region of frames of one size is reduced; `left` … `bottom` are pixels of the frame."""

    frame_width: int
    frame_height: int
    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int

    @property
    def bounds(self) -> Rect:
        """The reduced view as a rectangle."""
        return Rect(0.0, 0.0, float(self.width), float(self.height))

    def reduce(self, image: Picture) -> Reduced:
        """The region, reduced by averaging."""
        region = image[self.top : self.bottom, self.left : self.right]
        small = cv2.resize(region, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32)

    def to_frame(self, rect: Rect) -> Rect:
        """A rectangle of the reduced view in pixels of the frame."""
        sx, sy = (self.right - self.left) / self.width, (self.bottom - self.top) / self.height
        return Rect(
            self.left + rect.x0 * sx,
            self.top + rect.y0 * sy,
            self.left + rect.x1 * sx,
            self.top + rect.y1 * sy,
        )


def view_of(image: Picture, region: Box) -> View:
    """The view for frames of this size; a region of at least eight pixels each way.

    Raises:
        ValueError: the region is smaller than that in frames of this size.
    """
    height, width = image.shape[:2]
    left, right = round(region[0] * width), round(region[2] * width)
    top, bottom = round(region[1] * height), round(region[3] * height)
    if right - left < 8 or bottom - top < 8:
        raise ValueError(
            f"the trigger's region is {right - left}x{bottom - top} pixels: too small to see a part"
        )
    scale = min(1.0, LONGER_SIDE / max(right - left, bottom - top))
    return View(
        width,
        height,
        left,
        top,
        right,
        bottom,
        max(round((right - left) * scale), 8),
        max(round((bottom - top) * scale), 8),
    )
