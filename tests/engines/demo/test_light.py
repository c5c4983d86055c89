"""Light and camera stay within what they are asked for."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.engines.demo.light import Light, drifting_light, photograph, random_light

GREY = np.full((60, 80, 3), 120, dtype=np.uint8)


def test_gain_scales_brightness_and_noise_has_its_size() -> None:
    shot = photograph(GREY, Light(gain=0.5, noise=3.0, jpeg=0), np.random.default_rng(0))

    assert abs(shot.mean() - 60) < 1
    assert abs(shot.std() - 3) < 0.5


def test_warmth_moves_blue_and_red_apart() -> None:
    warm = photograph(GREY, Light(warmth=1.0, jpeg=0), np.random.default_rng(0)).reshape(-1, 3).mean(0)

    assert warm[2] - warm[0] > 5


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_light_is_within_the_specification(seed: int) -> None:
    light = random_light(np.random.default_rng(seed))

    assert 0.85 <= light.gain <= 1.15
    assert light.jpeg == 0 or light.jpeg >= 84


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_drift_stays_within_the_specification(progress: float, seed: int) -> None:
    light = drifting_light(Light(), progress, np.random.default_rng(seed))

    assert 0.85 <= light.gain <= 1.15


def test_dark_and_bright_saturate_instead_of_wrapping() -> None:
    rng = np.random.default_rng(0)

    assert photograph(np.full_like(GREY, 255), Light(gain=2.0, jpeg=0), rng).min() == 255
    assert photograph(np.zeros_like(GREY), Light(noise=4.0, jpeg=0), rng).max() < 30
