"""Regions land where the recipe says, and never silently outside the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.inspection.crops import RegionOutsideFrame, cut, place

IMAGE = np.arange(100 * 200 * 3, dtype=np.uint32).astype(np.uint8).reshape(100, 200, 3)

fractions = st.floats(0, 1, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    x = sorted((draw(fractions), draw(fractions)))
    y = sorted((draw(fractions), draw(fractions)))
    return (x[0], y[0], x[1], y[1])


def test_a_region_of_the_frame_stays_where_it_is():
    assert place((0.1, 0.2, 0.3, 0.4), None) == (0.1, 0.2, 0.3, 0.4)


def test_a_region_of_the_part_moves_with_the_part():
    assert place((0.0, 0.5, 0.5, 1.0), (0.2, 0.2, 0.6, 0.4)) == pytest.approx((0.2, 0.3, 0.4, 0.4))


def test_the_cut_is_the_pixels_under_the_box():
    crop, box = cut(IMAGE, (0.25, 0.1, 0.5, 0.6))

    assert np.array_equal(crop, IMAGE[10:60, 50:100])
    assert box == (0.25, 0.1, 0.5, 0.6)


def test_a_region_that_sticks_out_is_refused_with_the_share():
    with pytest.raises(RegionOutsideFrame, match="50%"):
        cut(IMAGE, (-0.1, 0.0, 0.1, 1.0))


def test_an_empty_region_is_refused():
    with pytest.raises(RegionOutsideFrame):
        cut(IMAGE, (0.5, 0.5, 0.5, 0.9))


@given(boxes(), boxes())
def test_a_region_inside_its_part_lands_inside_the_part(region, part):
    x0, y0, x1, y1 = place(region, part)

    assert part[0] - 1e-6 <= x0 <= x1 <= part[2] + 1e-6
    assert part[1] - 1e-6 <= y0 <= y1 <= part[3] + 1e-6


@given(boxes())
def test_every_cut_inside_the_frame_has_the_size_of_its_box(box):
    try:
        crop, cut_box = cut(IMAGE, box)
    except RegionOutsideFrame:
        return

    height, width = crop.shape[:2]
    assert (width, height) == (round((cut_box[2] - cut_box[0]) * 200), round((cut_box[3] - cut_box[1]) * 100))
