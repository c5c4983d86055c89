"""The blister window: six pockets in foil, some holding a tablet.

Knows foil, pockets and tablets. Does not know how many tablets are right.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lineside.engines.demo.canvas import (
    SUPERSAMPLE,
    Image,
    Plane,
    blend,
    disc,
    grain,
    ring,
    shade,
    soften,
    stroke,
)

COLUMNS, ROWS = 3, 2
PITCH = (38.0, 42.0)  # camera pixels between pockets
POCKET_RADIUS = 16.5
TABLET_RADIUS = 13.0
WINDOW = (126.0, 94.0)


def pocket_centres(centre: tuple[float, float]) -> list[tuple[float, float]]:
    """Canvas positions of the six pockets, row by row."""
    s = SUPERSAMPLE
    return [
        (centre[0] + (c - (COLUMNS - 1) / 2) * PITCH[0] * s, centre[1] + (r - (ROWS - 1) / 2) * PITCH[1] * s)
        for r in range(ROWS)
        for c in range(COLUMNS)
    ]


@lru_cache(maxsize=1)
def _foil() -> Image:
    s = SUPERSAMPLE
    w, h = int(WINDOW[0] * s), int(WINDOW[1] * s)
    foil = np.full((h, w, 3), (186, 184, 180), dtype=np.uint8)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    emboss = 5.0 * np.sin(xx * 0.55 + yy * 0.55) + 5.0 * np.sin(xx * 0.55 - yy * 0.55)
    sheen = 16.0 * np.sin(xx * 0.012 + yy * 0.02 + 0.8)
    shade(foil, (emboss + sheen + 3.0 * grain(h, w, 11, 1.2)).astype(np.float32))
    mask = np.zeros((h, w), dtype=np.float32)
    for x, y in pocket_centres((w / 2, h / 2)):
        mask[...] = 0.0
        disc(mask, (x, y), POCKET_RADIUS * s, 1.0)
        rim: Plane = soften(mask, 3.0)
        shade(foil, 40.0 * (np.roll(rim, (-3, -3), (0, 1)) - np.roll(rim, (3, 3), (0, 1))).astype(np.float32))
        shade(foil, -34.0 * soften(mask, 1.2))
        ring(foil, (x, y), POCKET_RADIUS * s, (122, 120, 116), 2)
    return foil


@lru_cache(maxsize=1)
def _tablet() -> tuple[Image, Plane]:
    size = int(2 * TABLET_RADIUS * SUPERSAMPLE) + 12
    centre, radius = size / 2, TABLET_RADIUS * SUPERSAMPLE
    pill = np.full((size, size, 3), (176, 190, 240), dtype=np.uint8)
    yy, xx = (np.mgrid[0:size, 0:size].astype(np.float32) - centre) / radius
    distance = np.sqrt(xx**2 + yy**2)
    bevel = np.clip((distance - 0.72) / 0.28, 0, 1) ** 1.5
    shade(pill, (-46.0 * bevel * (0.55 + 0.45 * (xx + yy)) + 9.0 * (1 - distance)).astype(np.float32))
    stroke(pill, [(centre - radius * 0.8, centre), (centre + radius * 0.8, centre)], (140, 152, 205), 3)
    mask = np.zeros((size, size), dtype=np.float32)
    disc(mask, (centre, centre), radius, 1.0)
    return pill, soften(mask, 0.8)


def paint_foil(tray: Image, centre: tuple[float, float]) -> None:
    """The foil window with six empty pockets."""
    foil = _foil()
    h, w = foil.shape[:2]
    x, y = int(centre[0] - w / 2), int(centre[1] - h / 2)
    tray[y - 3 : y + h + 3, x - 3 : x + w + 3] = (128, 126, 124)
    tray[y : y + h, x : x + w] = foil


def place_tablets(tray: Image, centre: tuple[float, float], count: int, rng: np.random.Generator) -> None:
    """Drop `count` tablets into pockets chosen at random, each a little off centre; empty pockets glint."""
    pill, mask = _tablet()
    size = pill.shape[0]
    order = rng.permutation(COLUMNS * ROWS)
    for place, (x, y) in enumerate(pocket_centres(centre)):
        if int(order[place]) >= count:
            glint = rng.uniform(-3, 3, 2) * SUPERSAMPLE - 8
            disc(
                tray,
                (x + float(glint[0]), y + float(glint[1])),
                rng.uniform(1.5, 3.0) * SUPERSAMPLE,
                (206, 205, 203),
            )
            continue
        x0, y0 = (int(v - size / 2 + rng.uniform(-2.0, 2.0) * SUPERSAMPLE) for v in (x, y))
        turns = int(rng.integers(4))
        spot = tray[y0 : y0 + size, x0 : x0 + size]
        shadow = np.roll(mask, (5, 5), (0, 1)) * 0.35
        blend(spot, (60, 60, 60), shadow.astype(np.float32))
        tone = (
            np.clip(np.rot90(pill, turns) + rng.uniform(-7, 7), 0, 255)
            if turns % 2
            else pill + rng.uniform(-7, 7)
        )
        blend(spot, np.clip(tone, 0, 255), mask)
