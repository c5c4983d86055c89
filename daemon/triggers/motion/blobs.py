"""From differing pixels to things: one rectangle for all pieces that lie close together."""

from __future__ import annotations

import cv2
import numpy as np

from lineside.daemon.triggers.motion.background import Levels, Mask
from lineside.daemon.triggers.motion.rect import Rect

BRIDGE = 5
"""Gaps of fewer pixels inside a thing are closed: dark pockets, printing."""
APART = 2.0
"""Pieces whose rectangles come nearer than twice this belong to one thing."""
MOST = 16
"""More things than this in view are clutter: the largest are followed."""


def raised_pixels(difference: Levels, threshold: float) -> Mask:
    """The pixels of things: differing ones, with small gaps closed."""
    mask = (difference > threshold).astype(np.uint8)
    # A frame of zeros, or closing would reach for the border.
    padded = cv2.copyMakeBorder(mask, BRIDGE, BRIDGE, BRIDGE, BRIDGE, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((BRIDGE, BRIDGE), np.uint8))
    return np.asarray(closed[BRIDGE:-BRIDGE, BRIDGE:-BRIDGE] > 0)


def things_in(raised: Mask, smallest_area: float) -> list[Rect]:
    """Rectangles of things whose area is at least `smallest_area` pixels, the largest first."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(raised.astype(np.uint8), connectivity=8)
    pieces = [
        Rect(float(x), float(y), float(x + w), float(y + h))
        for x, y, w, h, pixels in stats[1:].tolist()
        if pixels > 2
    ]
    pieces = sorted(pieces, key=lambda piece: -piece.area)[: 4 * MOST]
    whole = _joined(pieces)
    return sorted((thing for thing in whole if thing.area >= smallest_area), key=lambda t: -t.area)[:MOST]


def _joined(pieces: list[Rect]) -> list[Rect]:
    things: list[Rect] = []
    for piece in pieces:
        here = piece
        joined = True
        while joined:
            near = [thing for thing in things if thing.grown(APART).common(here.grown(APART)).area > 0]
            joined = bool(near)
            for thing in near:
                things.remove(thing)
                here = here.union(thing)
        things.append(here)
    return things
