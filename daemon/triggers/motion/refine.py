"""The tight box of a part at full resolution: where it rises half way from the belt to its own rim.

Recipes place their regions relative to this box, so it must hold within a few pixels.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside.daemon.triggers.motion.background import Levels, part_difference
from lineside.daemon.triggers.motion.rect import Rect
from lineside.daemon.triggers.motion.view import Reduced, View
from lineside.daemon.triggers.options import MotionOptions, Polarity
from lineside.daemon.values import Box, Picture

AROUND = 3.0
"""Reduced pixels around a part in which its edges are looked for."""
LEAST_PIXELS = 3
"""An edge line of fewer pixels is noise, or the very tip of a rounded corner."""


def box_at(image: Picture, view: View, rect: Rect, belt: Reduced, options: MotionOptions) -> Box:
    """The tight box, in fractions of the frame, of the part found at `rect` in the reduced view."""
    # In whole reduced pixels, so that belt and picture cover the same ground.
    around = rect.grown(AROUND).common(view.bounds)
    x0, y0, x1, y1 = int(around.x0), int(around.y0), math.ceil(around.x1), math.ceil(around.y1)
    place = view.to_frame(Rect(x0, y0, x1, y1))
    left, top, right, bottom = (round(edge) for edge in place)
    coarse = view.to_frame(rect).moved(-left, -top)
    crop = image[top:bottom, left:right]
    box = tight_box(crop, coarse, belt[y0:y1, x0:x1], options.polarity, options.min_contrast).moved(left, top)
    width, height = view.frame_width, view.frame_height
    return (box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height)


def tight_box(
    image: Picture, coarse: Rect, background: NDArray[np.float32], polarity: Polarity, threshold: float
) -> Rect:
    """The box in pixels of `image`, a crop around one part.

    `coarse`: the box found at reduced size, in the crop's pixels. `background`: (h, w, 3) levels of the empty
    belt under the crop, of any size. Gives `coarse` where no edge is found.
    """
    height, width = image.shape[:2]
    belt = np.asarray(
        cv2.resize(background, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32
    )
    difference = part_difference(cv2.GaussianBlur(image, (3, 3), 0).astype(np.float32), belt, polarity)
    raised = (difference > threshold).astype(np.uint8)
    rim = _rim_level(difference, raised, threshold)
    raised = (difference > max(threshold, rim / 2)).astype(np.uint8)
    own = _largest(raised, coarse)
    if own is None:
        return coarse
    across, down = own.sum(axis=0), own.sum(axis=1)
    columns, rows = np.flatnonzero(across >= LEAST_PIXELS), np.flatnonzero(down >= LEAST_PIXELS)
    if len(columns) == 0 or len(rows) == 0:
        return coarse
    return Rect(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def _rim_level(difference: Levels, raised: NDArray[np.uint8], threshold: float) -> float:
    """By how much the part differs from the belt just inside its outline."""
    filled = cv2.morphologyEx(raised, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    depth = max(3, round(min(difference.shape) / 40))
    inner = cv2.erode(filled, np.ones((2 * depth + 1, 2 * depth + 1), np.uint8), borderValue=0)
    deeper = cv2.erode(inner, np.ones((2 * depth + 1, 2 * depth + 1), np.uint8), borderValue=0)
    ring = (inner > 0) & (deeper == 0)
    return float(np.median(difference[ring])) if ring.any() else threshold


def _largest(raised: NDArray[np.uint8], coarse: Rect) -> NDArray[np.bool_] | None:
    """The pixels of the part: pieces large enough to matter that lie in the coarse box."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(raised, connectivity=8)
    if count < 2:
        return None
    sizes = stats[1:, cv2.CC_STAT_AREA]
    keep = np.zeros(count, bool)
    for label in range(1, count):
        x, y, w, h = (float(v) for v in stats[label, :4])
        piece = Rect(x, y, x + w, y + h)
        keep[label] = sizes[label - 1] >= 0.02 * sizes.max() and piece.inside(coarse.grown(6)) > 0.5
    if not keep.any():
        return None
    return np.asarray(keep[labels])
