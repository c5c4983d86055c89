"""The lot label: a white strip with an ink-jet printed code.

Knows ink, dots and their scatter. Does not know what makes a code valid.
"""

from __future__ import annotations

import numpy as np

from lineside.engines.demo import glyphs
from lineside.engines.demo.canvas import SUPERSAMPLE, Image, disc, polygon, stamp

LABEL_SIZE = (190.0, 44.0)  # camera pixels
DOT_PITCH = (4.0, 3.6)  # camera pixels between dot columns and rows
INK = (52.0, 42.0, 40.0)


def paint_label(tray: Image, centre: tuple[float, float]) -> None:
    """The blank label with its pre-printed frame and bar marks (the same on every part)."""
    s = SUPERSAMPLE
    w, h = LABEL_SIZE[0] * s / 2, LABEL_SIZE[1] * s / 2
    cx, cy = centre
    box = np.array([[cx - w, cy - h], [cx + w, cy - h], [cx + w, cy + h], [cx - w, cy + h]])
    polygon(tray, box + 2.5, (150, 150, 148))
    polygon(tray, box, (240, 243, 243))


def print_code(tray: Image, centre: tuple[float, float], code: str, rng: np.random.Generator) -> None:
    """Print `code` with the scatter of a real coder: slant, density, missed and stray dots."""
    s = SUPERSAMPLE
    pitch = np.array(DOT_PITCH) * s * rng.uniform(0.97, 1.03, 2)
    dots = glyphs.text_dots(code).astype(np.float64)
    dots -= np.array([(6 * len(code) - 2) / 2, 3.0])
    dots[:, 0] -= dots[:, 1] * rng.uniform(-0.06, 0.06)
    points = dots * pitch + np.array(centre) + rng.uniform(-3, 3, 2) * s
    points += rng.normal(0, 0.28 * s, points.shape)
    radius = rng.uniform(1.75, 2.25) * s
    density = rng.uniform(0.0, 45.0)
    missed = rng.uniform(size=len(points)) < 0.01
    tones = density + rng.uniform(-8, 8, len(points))
    stamp(tray, points[~missed], radius, [(INK[0] + t, INK[1] + t, INK[2] + t) for t in tones[~missed]])
    for _ in range(int(rng.integers(0, 5))):
        x, y = np.array(centre) + rng.uniform(-1, 1, 2) * np.array([80, 18]) * s
        disc(tray, (float(x), float(y)), rng.uniform(0.5, 0.9) * s, (140, 135, 132))
