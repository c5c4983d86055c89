"""The screw cap and everything that can be wrong with it.

Severity 0 is the floor a person can still see at camera resolution, 1 is gross:
crack 18 to 50 px long and 38 to 80 grey levels deep; stain 11 to 28 px across and 36 to 80 levels; tilt 7 to
22 degrees; mark shifted by 10 to 22 px. A missing cap, and an absent, mirrored or wrong mark, have no
degrees. Dust and scuffs are drawn on every cap and stay below these floors. Does not know light, camera or
position.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from lineside.engines.demo.canvas import (
    SUPERSAMPLE,
    Image,
    Plane,
    blend,
    blob,
    disc,
    grain,
    polygon,
    ring,
    shade,
    soften,
    stroke,
)

RADIUS = 50.0  # camera pixels
CRACK_LENGTH, CRACK_DEPTH = (18.0, 50.0), (38.0, 80.0)
STAIN_DIAMETER, STAIN_DEPTH = (11.0, 28.0), (36.0, 80.0)
TILT_DEGREES = (7.0, 22.0)
MARK_SHIFT = (10.0, 22.0)
_SIZE = 264
_MID = _SIZE / 2
_BODY = (164, 96, 34)


def between(ends: tuple[float, float], severity: float) -> float:
    """The value at `severity` on the way from the floor to gross."""
    return ends[0] + (ends[1] - ends[0]) * severity


@lru_cache(maxsize=1)
def _blank() -> tuple[Image, Plane]:
    """The moulded cap without print: knurled skirt, rim, slightly domed top."""
    r = RADIUS * SUPERSAMPLE
    cap = np.full((_SIZE, _SIZE, 3), _BODY, dtype=np.uint8)
    yy, xx = (np.mgrid[0:_SIZE, 0:_SIZE].astype(np.float32) - _MID) / r
    distance, angle = np.sqrt(xx**2 + yy**2), np.arctan2(yy, xx)
    skirt = (distance > 0.86).astype(np.float32)
    levels = 26.0 * skirt * np.sign(np.sin(angle * 60)) * (0.6 - 0.4 * (xx + yy)) - 20.0 * skirt
    levels += -24.0 * (xx + yy) * 0.5 + 10.0 * (1 - distance)
    groove = np.exp(-(((distance - 0.84) / 0.018) ** 2))
    levels += -42.0 * groove + 26.0 * np.exp(-(((distance - 0.80) / 0.02) ** 2)) * (0.4 - 0.6 * (xx + yy))
    highlight = np.exp(-(((xx + 0.38) / 0.30) ** 2 + ((yy + 0.42) / 0.20) ** 2))
    shade(cap, (levels + 30.0 * highlight + 2.2 * grain(_SIZE, _SIZE, 21, 1.0)).astype(np.float32))
    mask = np.zeros((_SIZE, _SIZE), dtype=np.float32)
    disc(mask, (_MID, _MID), r, 1.0)
    return cap, soften(mask, 1.0)


def _flag(scale: float) -> list[npt.NDArray[np.float64]]:
    """The right mark: a pole with two unlike bars; without symmetry, so that a mirrored one differs."""
    pole = np.array([[-16, -34], [-6, -34], [-6, 34], [-16, 34]])
    long_bar = np.array([[-6, -34], [34, -26], [-6, -12]])
    short_bar = np.array([[-6, 0], [18, 0], [18, 11], [-6, 11]])
    return [part * scale for part in (pole, long_bar, short_bar)]


def _wrong_marks(scale: float, rng: np.random.Generator) -> list[npt.NDArray[np.float64]]:
    """Another product's mark: a cross, two bars, or a triangle with a foot."""
    marks = (
        [[[-9, -34], [9, -34], [9, 34], [-9, 34]], [[-34, -9], [34, -9], [34, 9], [-34, 9]]],
        [[[-30, -28], [30, -28], [30, -10], [-30, -10]], [[-30, 10], [30, 10], [30, 28], [-30, 28]]],
        [[[0, -36], [34, 14], [-34, 14]], [[-22, 22], [22, 22], [22, 34], [-22, 34]]],
    )
    return [np.array(part, dtype=np.float64) * scale for part in marks[int(rng.integers(len(marks)))]]


def _print_mark(cap: Image, misprint: str, severity: float, rng: np.random.Generator) -> None:
    if misprint == "absent":
        return
    scale = 1.35 * rng.uniform(0.95, 1.05)
    parts = _wrong_marks(scale, rng) if misprint == "wrong" else _flag(scale)
    flip = np.array([-1.0 if misprint == "mirrored" else 1.0, 1.0])
    shift = rng.uniform(-1.5, 1.5, 2) * SUPERSAMPLE
    if misprint == "shifted":
        angle = rng.uniform(0, 2 * np.pi)
        shift = np.array([np.cos(angle), np.sin(angle)]) * between(MARK_SHIFT, severity) * SUPERSAMPLE
    mask = np.zeros((_SIZE, _SIZE), dtype=np.float32)
    for part in parts:
        polygon(mask, part * flip + shift + _MID, 1.0)
    top = np.zeros_like(mask)
    disc(top, (_MID, _MID), RADIUS * SUPERSAMPLE * 0.82, 1.0)
    blend(cap, (232, 236, 238), soften(mask, 1.0) * top * np.float32(rng.uniform(0.86, 0.96)))


def _crack(cap: Image, severity: float, rng: np.random.Generator) -> Plane:
    length = between(CRACK_LENGTH, severity) * SUPERSAMPLE
    start = rng.uniform(0, 2 * np.pi)
    origin = _MID + np.array([np.cos(start), np.sin(start)]) * RADIUS * SUPERSAMPLE * rng.uniform(0.35, 0.9)
    heading = start + np.pi + rng.uniform(-0.7, 0.7)
    steps = max(4, round(length / 9))
    turns = heading + np.cumsum(rng.normal(0, 0.22, steps)) + rng.normal(0, 0.25, steps)
    walk = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1) * (length / steps), axis=0)
    points = np.vstack([origin, origin + walk])
    mask = np.zeros((_SIZE, _SIZE), dtype=np.float32)
    stroke(mask, points, 1.0, round(2.1 * SUPERSAMPLE))
    if severity > 0.5:
        fork = points[steps // 2] + np.cumsum(
            np.tile([np.cos(heading + 0.8), np.sin(heading + 0.8)], (3, 1)) * length / 10, axis=0
        )
        stroke(mask, np.vstack([points[steps // 2], fork]), 0.9, round(1.5 * SUPERSAMPLE))
    mask = soften(mask, 0.7)
    depth = between(CRACK_DEPTH, severity) + rng.uniform(8, 18)
    lip = soften(np.roll(mask, (3, 3), (0, 1)), 1.0)
    shade(cap, (18.0 * lip - (depth + 18.0) * mask).astype(np.float32))
    return mask


def _stain(cap: Image, severity: float, rng: np.random.Generator) -> Plane:
    radius = between(STAIN_DIAMETER, severity) / 2 * SUPERSAMPLE
    angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.66) * RADIUS * SUPERSAMPLE
    centre = (_MID + float(np.cos(angle) * reach), _MID + float(np.sin(angle) * reach))
    mask = np.zeros((_SIZE, _SIZE), dtype=np.float32)
    polygon(mask, blob(rng, centre, radius), 1.0)
    for _ in range(int(rng.integers(0, 3))):
        spot = np.array(centre) + rng.normal(0, 1, 2) * radius * 1.2
        polygon(mask, blob(rng, (float(spot[0]), float(spot[1])), radius * rng.uniform(0.15, 0.35)), 0.9)
    strength = min(0.95, (between(STAIN_DEPTH, severity) + 12) / 92.0)
    blend(cap, np.array([26, 58, 88]) + rng.uniform(-8, 8, 3), soften(mask, 1.6) * np.float32(strength))
    return mask


def _dust(cap: Image, rng: np.random.Generator) -> None:
    """Specks, fibres and scuffs of a clean line: present on good caps too, all below the floors."""
    levels = np.zeros((_SIZE, _SIZE), dtype=np.float32)
    for _ in range(int(rng.integers(0, 9))):
        x, y = _MID + rng.uniform(-0.8, 0.8, 2) * RADIUS * SUPERSAMPLE
        disc(levels, (float(x), float(y)), rng.uniform(0.5, 1.3) * SUPERSAMPLE, float(rng.uniform(-22, 26)))
    for _ in range(int(rng.integers(0, 3))):
        start = _MID + rng.uniform(-0.6, 0.6, 2) * RADIUS * SUPERSAMPLE
        bend = np.cumsum(rng.normal(0, 5.0, (5, 2)) + rng.normal(0, 4, 2), axis=0)
        stroke(levels, start + bend, float(rng.uniform(-9, 11)), 2)
    shade(cap, soften(levels, 0.9))


def _seat(tray: Image, centre: tuple[float, float]) -> None:
    """The holder the cap sits in."""
    disc(tray, centre, (RADIUS + 8) * SUPERSAMPLE, (176, 176, 174))
    disc(tray, centre, (RADIUS + 5.5) * SUPERSAMPLE, (98, 98, 98))
    ring(tray, centre, (RADIUS + 8) * SUPERSAMPLE, (150, 150, 149), 2)


def _open_neck(tray: Image, centre: tuple[float, float], rng: np.random.Generator) -> None:
    s = SUPERSAMPLE
    disc(tray, centre, 41 * s, (196, 200, 202))
    for radius, tone in ((39, 170), (36, 214), (33, 176)):
        ring(tray, centre, radius * s + rng.uniform(-1, 1), (tone, tone + 2, tone + 4), 3)
    disc(tray, centre, 27 * s, (66, 62, 60))
    disc(tray, (centre[0] + 4, centre[1] + 5), 22 * s, (44, 42, 42))
    stroke(tray, [(centre[0] - 46, centre[1] - 22), (centre[0] - 30, centre[1] - 40)], (236, 238, 238), 5)


def draw_cap(
    tray: Image,
    centre: tuple[float, float],
    kind: str,
    severity: float,
    misprint: str,
    rng: np.random.Generator,
) -> Plane | None:
    """Draw the holder and the cap of class `kind` at `centre`; where its crack or stain lies on the tray."""
    _seat(tray, centre)
    if kind == "missing":
        _open_neck(tray, centre, rng)
        return None
    blank, alpha = _blank()
    cap = blank.copy()
    _print_mark(cap, misprint, severity, rng)
    _dust(cap, rng)
    flaw: Plane | None = None
    if kind == "cracked":
        flaw = _crack(cap, severity, rng)
    elif kind == "stained":
        flaw = _stain(cap, severity, rng)
    turn = cv2.getRotationMatrix2D((_MID, _MID), float(rng.uniform(-10, 10)), 1.0)
    offset = rng.uniform(-1.0, 1.0, 2) * SUPERSAMPLE
    corner = np.array(centre) - _MID
    whole = np.round(corner).astype(int)
    turn[:, 2] += offset + corner - whole
    if kind == "tilted":
        turn = _tilted(tray, centre, between(TILT_DEGREES, severity), rng) @ np.vstack([turn, [0, 0, 1]])
    size = (_SIZE, _SIZE)
    cap = np.asarray(cv2.warpAffine(cap, turn, size, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)
    alpha = np.asarray(cv2.warpAffine(alpha, turn, size), dtype=np.float32)
    spot = tray[whole[1] : whole[1] + _SIZE, whole[0] : whole[0] + _SIZE]
    shadow = np.roll(alpha, (6, 6), (0, 1)) * np.float32(0.30)
    blend(spot, (40, 40, 40), soften(shadow, 3.0))
    blend(spot, cap, alpha)
    if flaw is None:
        return None
    lies = np.zeros(tray.shape[:2], dtype=np.float32)
    lies[whole[1] : whole[1] + _SIZE, whole[0] : whole[0] + _SIZE] = cv2.warpAffine(flaw, turn, size)
    return lies


def _tilted(
    tray: Image, centre: tuple[float, float], degrees: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Show the raised skirt on one side; return the map that foreshortens the top and slides it away."""
    angle, tilt = rng.uniform(0, 2 * np.pi), np.radians(degrees)
    toward = np.array([np.cos(angle), np.sin(angle)])
    slide = 0.62 * RADIUS * SUPERSAMPLE * np.sin(tilt)
    behind = np.array(centre) - toward * slide * 0.75
    disc(tray, (float(behind[0]), float(behind[1])), RADIUS * SUPERSAMPLE * 0.99, (206, 150, 92))
    ring(tray, (float(behind[0]), float(behind[1])), RADIUS * SUPERSAMPLE * 0.975, (110, 64, 24), 4)
    squeeze = np.eye(2) - (1 - np.cos(tilt)) * np.outer(toward, toward)
    moved = np.array([_MID, _MID]) + toward * slide - squeeze @ np.array([_MID, _MID])
    return np.hstack([squeeze, moved[:, None]])
