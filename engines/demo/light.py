"""Light and camera: brightness, colour temperature, fall-off, blur, sensor noise and JPEG.

Turns a drawn frame into a photographed one. Does not know what is in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from lineside.engines.demo.canvas import Image, Plane


@dataclass(frozen=True)
class Light:
    """One exposure's conditions; the defaults are the station as commissioned."""

    gain: float = 1.0
    warmth: float = 0.0  # -1 bluish to 1 yellowish: up to six per cent between blue and red
    tilt: tuple[float, float] = (0.0, 0.0)  # brightness gradient across the picture
    blur: float = 0.4  # Gaussian sigma in pixels
    noise: float = 2.5  # grey levels
    jpeg: int = 92  # 0 switches it off


def random_light(rng: np.random.Generator) -> Light:
    """Conditions within what the station is specified for."""
    return Light(
        gain=float(rng.uniform(0.85, 1.15)),
        warmth=float(rng.uniform(-1, 1)),
        tilt=(float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.05))),
        blur=float(rng.uniform(0.0, 0.9)),
        noise=float(rng.uniform(1.0, 4.5)),
        jpeg=int(rng.integers(84, 97)) if rng.uniform() < 0.6 else 0,
    )


def drifting_light(base: Light, progress: float, rng: np.random.Generator) -> Light:
    """The light at `progress` (0 to 1) through a shift: lamps warm up and age, mains flicker is slight."""
    gain = 1.0 + 0.07 * np.sin(2 * np.pi * progress + 0.6) + 0.03 * np.sin(2 * np.pi * 3.7 * progress)
    flicker = float(rng.normal(0, 0.004))
    return replace(
        base, gain=base.gain * float(gain) + flicker, warmth=0.7 * float(np.sin(2 * np.pi * progress))
    )


@lru_cache(maxsize=1)
def _noise_bank() -> Plane:
    return np.random.default_rng(51).standard_normal((1300, 1700, 3)).astype(np.float32)


def photograph(drawn: Image, light: Light, rng: np.random.Generator) -> Image:
    """The camera's picture of `drawn` under `light`."""
    h, w = drawn.shape[:2]
    bank = _noise_bank()
    y0, x0 = int(rng.integers(0, bank.shape[0] - h)), int(rng.integers(0, bank.shape[1] - w))
    shot = cv2.GaussianBlur(drawn, (0, 0), light.blur) if light.blur > 0.15 else drawn
    balance = light.gain * (1.0 + 0.03 * light.warmth * np.array([-1.0, 0.0, 1.0], dtype=np.float32))
    across = 1.0 + light.tilt[0] * np.linspace(-1, 1, w, dtype=np.float32)
    down = 1.0 + light.tilt[1] * np.linspace(-1, 1, h, dtype=np.float32)
    field = (down[:, None] * across[None, :])[..., None] * balance.astype(np.float32)
    exposed = cv2.multiply(shot, field, dtype=cv2.CV_32F)
    noise = bank[y0 : y0 + h, x0 : x0 + w]
    picture = np.asarray(
        cv2.addWeighted(exposed, 1.0, noise, light.noise, 0.0, dtype=cv2.CV_8U), dtype=np.uint8
    )
    if light.jpeg:
        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, light.jpeg])[1]
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
    return picture
