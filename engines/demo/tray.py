"""The tray with its cap, blister and label, and where on it the recipe looks.

Draws in tray coordinates, upright and evenly lit, at `SUPERSAMPLE`. Does not know belt, light, camera or
pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lineside.engines.demo.blister import paint_foil, place_tablets
from lineside.engines.demo.canvas import (
    SUPERSAMPLE,
    Image,
    Plane,
    disc,
    grain,
    polygon,
    shade,
    soften,
    stroke,
)
from lineside.engines.demo.cap import draw_cap
from lineside.engines.demo.label import paint_label, print_code
from lineside.engines.demo.truth import PartTruth

WIDTH, HEIGHT = 400, 220  # camera pixels
CAP_AT, BLISTER_AT, LABEL_AT = (-118.0, -14.0), (82.0, -36.0), (28.0, 68.0)  # from the tray's centre
LOOK_SIZES = {"cap": (128.0, 124.0), "blister": (138.0, 126.0), "code": (190.0, 52.0)}
LOOK_CENTRES = {"cap": CAP_AT, "blister": BLISTER_AT, "code": LABEL_AT}
_BOUNDING = (
    407.0,
    233.0,
)  # the upright box of a tray turned by two degrees: the middle of what the belt guide allows


def _region(name: str) -> tuple[float, float, float, float]:
    (x, y), (w, h) = LOOK_CENTRES[name], LOOK_SIZES[name]
    left, top = 0.5 + (x - w / 2) / _BOUNDING[0], 0.5 + (y - h / 2) / _BOUNDING[1]
    return (
        round(left, 4),
        round(top, 4),
        round(left + w / _BOUNDING[0], 4),
        round(top + h / _BOUNDING[1], 4),
    )


REGIONS: dict[str, tuple[float, float, float, float]] = {name: _region(name) for name in LOOK_SIZES}
"""Recipe regions x0, y0, x1, y1 as fractions of the part's upright bounding box."""


@dataclass(frozen=True)
class TrayArt:
    """A drawn part at `SUPERSAMPLE` with a margin of `MARGIN`: picture, outline's and flaw's coverage."""

    image: Image
    alpha: Plane
    flaw: Plane | None = None


MARGIN = 4  # canvas pixels around the tray


def _at(place: tuple[float, float]) -> tuple[float, float]:
    s = SUPERSAMPLE
    return (MARGIN + (WIDTH / 2 + place[0]) * s, MARGIN + (HEIGHT / 2 + place[1]) * s)


def _rounded(width: float, height: float, inset: float, radius: float) -> np.ndarray:
    x0, y0, x1, y1 = MARGIN + inset, MARGIN + inset, MARGIN + width - inset, MARGIN + height - inset
    corners = (
        (x1 - radius, y1 - radius, 0),
        (x0 + radius, y1 - radius, 90),
        (x0 + radius, y0 + radius, 180),
        (x1 - radius, y0 + radius, 270),
    )
    points = [
        (cx + radius * np.cos(np.radians(a)), cy + radius * np.sin(np.radians(a)))
        for cx, cy, start in corners
        for a in range(start, start + 91, 10)
    ]
    return np.array(points)


def _matrix_mark(image: Image, place: tuple[float, float]) -> None:
    """The tray's own two-dimensional mark; decoration, the same on every tray."""
    cells, pitch = 12, 3 * SUPERSAMPLE
    dark = np.random.default_rng(61).uniform(size=(cells, cells)) < 0.5
    dark[:, 0] = dark[-1, :] = True
    dark[0, 1::2] = dark[1:-1:2, -1] = False
    x, y = (round(v - cells * pitch / 2) for v in _at(place))
    image[y - 8 : y + cells * pitch + 8, x - 8 : x + cells * pitch + 8] = (232, 234, 234)
    block = np.kron(dark, np.ones((pitch, pitch), dtype=bool))
    image[y : y + cells * pitch, x : x + cells * pitch][block] = (58, 56, 56)


@lru_cache(maxsize=1)
def _empty() -> TrayArt:
    s = SUPERSAMPLE
    w, h = WIDTH * s, HEIGHT * s
    image = np.full((h + 2 * MARGIN, w + 2 * MARGIN, 3), (206, 208, 208), dtype=np.uint8)
    alpha = np.zeros(image.shape[:2], dtype=np.float32)
    polygon(alpha, _rounded(w, h, 0, 28), 1.0)
    inner = np.zeros_like(alpha)
    polygon(inner, _rounded(w, h, 16, 22), 1.0)
    slope = soften(inner, 5.0)
    levels = 9.0 * (np.roll(slope, (-6, -6), (0, 1)) - np.roll(slope, (6, 6), (0, 1))) * 4
    shade(image, (levels + 1.6 * grain(*alpha.shape, 31, 0.8) + 5.0 * (slope - 1.0)).astype(np.float32))
    for x, y in ((-188, -98), (188, -98), (-188, 98), (188, 98)):
        disc(image, _at((x, y)), 4.5 * s, (168, 169, 170))
        disc(image, _at((x + 0.8, y + 0.8)), 3.2 * s, (88, 88, 90))
    for i in range(5):
        x0, y0 = _at((-176 + 12 * i, 70))
        stroke(image, [(x0, y0), (x0 + 10, y0 + 36)], (172, 174, 175), 5)
    _matrix_mark(image, (162, 68))
    paint_foil(image, _at(BLISTER_AT))
    paint_label(image, _at(LABEL_AT))
    return TrayArt(image, soften(alpha, 0.8))


def draw_part(truth: PartTruth, rng: np.random.Generator) -> TrayArt:
    """Draw one part; the same truth and generator state give the same pixels."""
    empty = _empty()
    image = empty.image.copy()
    flaw = draw_cap(image, _at(CAP_AT), truth.cap, truth.severity, truth.misprint, rng)
    place_tablets(image, _at(BLISTER_AT), truth.tablets, rng)
    print_code(image, _at(LABEL_AT), truth.code, rng)
    return TrayArt(image, empty.alpha, flaw)
