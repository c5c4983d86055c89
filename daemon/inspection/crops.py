"""Where the recipe's regions lie in one frame, and the pixels under them.

A region is given in fractions of the frame, or of the part's own box when the recipe is anchored
to the part. Knows nothing of cameras, recipes' questions or engines.
"""

from __future__ import annotations

import numpy as np

from lineside.daemon.values import Box, Picture


class RegionOutsideFrame(Exception):
    """Less than the needed share of a region lies inside the frame: the part is not where it should be."""


def place(region: Box, part_box: Box | None) -> Box:
    """The region in fractions of the frame; unclipped, so that it may stick out."""
    if part_box is None:
        return region
    px0, py0, px1, py1 = part_box
    width, height = px1 - px0, py1 - py0
    x0, y0, x1, y1 = region
    return (px0 + x0 * width, py0 + y0 * height, px0 + x1 * width, py0 + y1 * height)


def cut(image: Picture, box: Box, *, minimum_share: float = 0.98) -> tuple[Picture, Box]:
    """The pixels under `box`, contiguous, and the box that was really cut (clipped, whole pixels).

    Raises:
        RegionOutsideFrame: less than `minimum_share` of the region's area is inside the frame.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (
        round(box[0] * width),
        round(box[1] * height),
        round(box[2] * width),
        round(box[3] * height),
    )
    cx0, cy0, cx1, cy1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    wanted = (x1 - x0) * (y1 - y0)
    inside = max(cx1 - cx0, 0) * max(cy1 - cy0, 0)
    if wanted <= 0 or inside < minimum_share * wanted:
        share = 0.0 if wanted <= 0 else inside / wanted
        raise RegionOutsideFrame(f"only {share:.0%} of the region lies inside the frame ({width}x{height})")
    crop = np.ascontiguousarray(image[cy0:cy1, cx0:cx1])
    return crop, (cx0 / width, cy0 / height, cx1 / width, cy1 / height)
