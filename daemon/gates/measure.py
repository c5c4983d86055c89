"""What can be measured of a picture's quality, without knowing what is on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside.daemon.values import Picture

LONGEST_SIDE = 256
"""Larger crops are reduced first: the numbers mean the same for every camera, and cost little."""
DARK, SATURATED = 8, 250
"""Grey levels at or beyond which a pixel tells nothing."""
SKETCH = 32
"""Pixels each way of the outline that shifts are measured on."""

Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Quality:
    """Numbers of one picture.

    `sharpness`: how much of the contrast lies in fine detail (variance of the Laplacian over the variance of
    the grey levels, after light smoothing against noise). `mean`: grey level. `dark`, `bright`: shares of
    pixels that are cut off. `glare`: the largest saturated spot's share.
    """

    sharpness: float
    mean: float
    dark: float
    bright: float
    glare: float


def grey_of(image: Picture) -> Grey:
    """The picture in grey, reduced to `LONGEST_SIDE`."""
    height, width = image.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def measure(grey: Grey) -> Quality:
    """Every number of one grey picture."""
    smooth = cv2.GaussianBlur(grey, (5, 5), 1.0)
    detail = float(cv2.Laplacian(smooth, cv2.CV_32F).var())
    contrast = float(smooth.var())
    saturated = (grey >= SATURATED).astype(np.uint8)
    bright = float(saturated.mean())
    return Quality(
        sharpness=detail / (contrast + 25.0),  # a flat picture's noise is no sharpness
        mean=float(grey.mean()),
        dark=float((grey <= DARK).mean()),
        bright=bright,
        glare=_largest_spot(saturated) if bright > 0 else 0.0,
    )


def _largest_spot(saturated: Grey) -> float:
    _, _, stats, _ = cv2.connectedComponentsWithStats(saturated, connectivity=8)
    return float(stats[1:, cv2.CC_STAT_AREA].max()) / saturated.size


def sketch_of(grey: Grey) -> NDArray[np.float32]:
    """The picture's outlines, (SKETCH, SKETCH), mean 0 and length 1: the same under more or less light."""
    small = cv2.resize(grey, (2 * SKETCH, 2 * SKETCH), interpolation=cv2.INTER_AREA).astype(np.float32)
    across, down = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    strength = cv2.resize(cv2.magnitude(across, down), (SKETCH, SKETCH), interpolation=cv2.INTER_AREA)
    centred = np.asarray(strength, dtype=np.float32) - np.float32(np.mean(strength))
    length = float(np.linalg.norm(centred))
    return np.asarray(centred / np.float32(max(length, 1e-6)), dtype=np.float32)


def shift_between(sketch: NDArray[np.float32], reference: NDArray[np.float32]) -> tuple[float, float]:
    """How far `sketch` lies from `reference`, as a share of the picture's size, and how alike they are there.

    The second number is the correlation at the best shift, -1 to 1: a low one means that nothing was found.
    """
    reach = SKETCH // 2
    padded = cv2.copyMakeBorder(sketch, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    likeness = cv2.matchTemplate(padded, reference, cv2.TM_CCORR)
    _, best, _, (x, y) = cv2.minMaxLoc(likeness)
    # What has moved out of the picture cannot be alike: weigh by the share that is still in it.
    overlap = (1 - abs(x - reach) / SKETCH) * (1 - abs(y - reach) / SKETCH)
    return float(np.hypot(x - reach, y - reach)) / SKETCH, float(best) / max(overlap, 0.25) ** 0.5
