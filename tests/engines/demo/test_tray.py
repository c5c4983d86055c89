"""Drawing parts: the same from the same seed, and every defect at its floor is there to be seen."""

from __future__ import annotations

import numpy as np
import pytest

from lineside.engines.demo.blister import pocket_centres
from lineside.engines.demo.canvas import SUPERSAMPLE, Image
from lineside.engines.demo.tray import BLISTER_AT, CAP_AT, HEIGHT, MARGIN, REGIONS, WIDTH, TrayArt, draw_part
from lineside.engines.demo.truth import MISPRINTS, PartTruth

SEEDS = range(8)


def part(cap: str = "ok", severity: float = 0.0, misprint: str = "", tablets: int = 6) -> PartTruth:
    return PartTruth(cap, tablets, "K48217", True, severity, misprint)


def drawn(truth: PartTruth, seed: int) -> TrayArt:
    return draw_part(truth, np.random.default_rng(seed))


def centre(place: tuple[float, float]) -> tuple[int, int]:
    s = SUPERSAMPLE
    return round(MARGIN + (WIDTH / 2 + place[0]) * s), round(MARGIN + (HEIGHT / 2 + place[1]) * s)


def cap_of(image: Image) -> np.ndarray:
    """The cap's surroundings at camera resolution, in grey levels."""
    x, y = centre(CAP_AT)
    grey = image[y - 128 : y + 128, x - 128 : x + 128].mean(-1)
    return grey.reshape(128, 2, 128, 2).mean((1, 3))


@pytest.mark.parametrize("cap", ["ok", "missing", "tilted", "cracked", "stained", "misprinted"])
def test_the_same_seed_draws_the_same_pixels(cap: str) -> None:
    truth = part(cap, 0.4, "wrong" if cap == "misprinted" else "")

    np.testing.assert_array_equal(drawn(truth, 3).image, drawn(truth, 3).image)
    assert not np.array_equal(drawn(truth, 3).image, drawn(truth, 4).image)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("cap", "longest"), [("cracked", 14), ("stained", 9)])
def test_faintest_flaw_has_its_size_and_depth(cap: str, longest: int, seed: int) -> None:
    art = drawn(part(cap, 0.0), seed)
    assert art.flaw is not None
    ys, xs = np.nonzero(art.flaw > 0.5)

    extent = np.hypot(np.ptp(xs), np.ptp(ys)) / SUPERSAMPLE
    assert extent >= longest * 0.8  # a crack may bend back on itself

    inside = art.flaw > 0.8
    near = np.zeros_like(inside)
    for dy in range(-10, 11, 2):
        for dx in range(-10, 11, 2):
            near |= np.roll(art.flaw > 0.3, (dy, dx), (0, 1))
    around = near & ~(art.flaw > 0.02)
    difference = art.image[around].astype(float).mean(0) - art.image[inside].astype(float).mean(0)
    assert np.abs(difference).max() >= 25


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("truth", "pixels"),
    [
        (part("missing", 1.0), 4000),
        (part("tilted", 0.0), 150),
        (part("cracked", 0.0), 15),
        (part("stained", 0.0), 40),
    ]
    + [(part("misprinted", 0.0 if kind == "shifted" else 1.0, kind), 300) for kind in MISPRINTS],
)
def test_every_defect_at_its_floor_differs_visibly_from_a_good_cap(
    truth: PartTruth, pixels: int, seed: int
) -> None:
    good, bad = cap_of(drawn(part(), seed).image), cap_of(drawn(truth, seed).image)

    assert (np.abs(good - bad) >= 20).sum() >= pixels


@pytest.mark.parametrize("tablets", range(7))
def test_as_many_pockets_are_filled_as_the_truth_says(tablets: int) -> None:
    image = drawn(part(tablets=tablets), 11).image
    filled = 0
    for x, y in pocket_centres((float(centre(BLISTER_AT)[0]), float(centre(BLISTER_AT)[1]))):
        spot = image[round(y) - 8 : round(y) + 8, round(x) - 8 : round(x) + 8].reshape(-1, 3).mean(0)
        filled += bool(spot[2] - spot[0] > 30)

    assert filled == tablets


def test_regions_lie_within_the_part() -> None:
    for x0, y0, x1, y1 in REGIONS.values():
        assert 0 < x0 < x1 < 1
        assert 0 < y0 < y1 < 1
