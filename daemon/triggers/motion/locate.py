"""The part's box in one single picture: for pictures that are handed in, and triggers from outside."""

from __future__ import annotations

import cv2
import numpy as np

from lineside.daemon.triggers.motion.background import Background, Mask
from lineside.daemon.triggers.motion.blobs import raised_pixels, things_in
from lineside.daemon.triggers.motion.matching import MARGIN
from lineside.daemon.triggers.motion.rect import Rect, touches
from lineside.daemon.triggers.motion.refine import box_at
from lineside.daemon.triggers.motion.view import view_of
from lineside.daemon.triggers.options import MotionOptions
from lineside.daemon.values import Box, Picture

SLIVER = 7
"""Things thinner than this, in pixels of the reduced view, are no parts."""


def locate_part(image: Picture, options: MotionOptions) -> Box | None:
    """The tight box, in fractions of the picture, of the part wholly in the region and nearest its centre.

    The belt is read from the picture itself: the part may cover about four fifths of any line at most.
    None where there is no such part. Raises ValueError when the region is too small for the picture.
    """
    view = view_of(image, options.region)
    small = view.reduce(image)
    belt = Background(options.polarity, options.min_contrast, vertical=options.direction in ("up", "down"))
    raised = _without_slivers(raised_pixels(belt.difference(small), options.min_contrast))
    area = view.bounds.area
    cx, cy = view.bounds.centre

    def off_centre(thing: Rect) -> float:
        return (thing.centre[0] - cx) ** 2 + (thing.centre[1] - cy) ** 2

    parts = [
        thing
        for thing in things_in(raised, options.min_area * area)
        if thing.area <= options.max_area * area and not touches(thing, view.bounds, MARGIN).any
    ]
    if not parts:
        return None
    return box_at(image, view, min(parts, key=off_centre), belt.levels, options)


def _without_slivers(raised: Mask) -> Mask:
    """A line that reads its belt from a part's shadow shows the rest of the belt as raised: thin, no part."""
    opened = cv2.morphologyEx(raised.astype(np.uint8), cv2.MORPH_OPEN, np.ones((SLIVER, SLIVER), np.uint8))
    return np.asarray(opened > 0)
