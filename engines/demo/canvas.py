"""Small painting steps shared by everything drawn on the tray: blending, blobs, dots, texture.

Works on BGR uint8 canvases at `SUPERSAMPLE` canvas pixels per camera pixel. Does not know parts or defects.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Colour = tuple[float, float, float]
Paintable = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

SUPERSAMPLE = 2
_SHIFT = 4  # cv2 sub-pixel bits


def fixed(points: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Float points as the fixed-point integers OpenCV draws from."""
    return np.round(np.asarray(points, dtype=np.float64) * (1 << _SHIFT)).astype(np.int32)


def disc(image: Paintable, centre: tuple[float, float], radius: float, colour: Colour | float) -> None:
    """A filled antialiased disc."""
    x, y = (int(v) for v in fixed(centre))
    cv2.circle(image, (x, y), int(fixed(radius)), colour, -1, cv2.LINE_AA, _SHIFT)


def stamp(image: Image, points: npt.ArrayLike, radius: float, colours: list[Colour]) -> None:
    """Many discs of one radius."""
    size = int(fixed(radius))
    for (x, y), colour in zip(fixed(points).tolist(), colours, strict=True):
        cv2.circle(image, (x, y), size, colour, -1, cv2.LINE_AA, _SHIFT)


def ring(
    image: Paintable, centre: tuple[float, float], radius: float, colour: Colour | float, width: int
) -> None:
    """An antialiased circle line."""
    x, y = (int(v) for v in fixed(centre))
    cv2.circle(image, (x, y), int(fixed(radius)), colour, width, cv2.LINE_AA, _SHIFT)


def stroke(image: Paintable, points: npt.ArrayLike, colour: Colour | float, width: int) -> None:
    """An antialiased open polyline."""
    cv2.polylines(image, [fixed(points)], False, colour, width, cv2.LINE_AA, _SHIFT)


def polygon(image: Paintable, points: npt.ArrayLike, colour: Colour | float) -> None:
    """A filled antialiased polygon."""
    cv2.fillPoly(image, [fixed(points)], colour, cv2.LINE_AA, _SHIFT)


def blend(image: Image, paint: npt.ArrayLike, alpha: Plane) -> None:
    """Paint `paint` (a colour or an image) over `image` in place, by `alpha` in [0, 1]."""
    over = np.clip(np.asarray(paint), 0, 255).astype(np.uint8)
    if over.ndim == 1:
        over = np.broadcast_to(over, image.shape).copy()
    image[...] = cv2.blendLinear(np.ascontiguousarray(image), over, 1.0 - alpha, alpha)


def shade(image: Image, levels: Plane) -> None:
    """Add grey `levels` to every channel in place, saturating."""
    image[...] = cv2.add(image, cv2.merge([levels, levels, levels]), dtype=cv2.CV_8U)


def soften(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur of a single plane."""
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), dtype=np.float32)


def blob(rng: np.random.Generator, centre: tuple[float, float], radius: float) -> npt.NDArray[np.float64]:
    """Outline of an irregular round spot whose mean radius is `radius`."""
    angles = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
    wobble = (
        1.0
        + 0.16 * np.sin(2 * angles + rng.uniform(0, 6.3))
        + 0.10 * np.sin(3 * angles + rng.uniform(0, 6.3))
    )
    radii = radius * (wobble + rng.normal(0, 0.03, angles.size))
    return np.stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], axis=1)


@lru_cache(maxsize=8)
def grain(height: int, width: int, seed: int, sigma: float = 0.0, stretch: float = 1.0) -> Plane:
    """A fixed plane of unit-variance noise, smoothed by `sigma` (in x by `stretch` more), seamless in x."""
    plane = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    if sigma > 0:
        pad = min(width, int(4 * sigma * stretch) + 1)
        wrapped = np.pad(plane, ((0, 0), (pad, pad)), mode="wrap")
        smooth = cv2.GaussianBlur(wrapped, (0, 0), sigmaX=sigma * stretch, sigmaY=sigma)
        plane = np.asarray(smooth[:, pad : pad + width], dtype=np.float32)
        plane /= float(plane.std()) + 1e-6
    return plane
