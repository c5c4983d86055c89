"""The moving line: repeatable frames in which every part passes the middle once."""

from __future__ import annotations

import numpy as np

from lineside.engines.demo.belt import FRAME_HEIGHT, FRAME_WIDTH, Pose
from lineside.engines.demo.light import Light
from lineside.engines.demo.station import compose_frame, draw_part, line_frames, random_truth

TRUTHS = [random_truth(np.random.default_rng(k), 0.5) for k in range(2)]


def test_each_part_crosses_the_picture_once_from_left_to_right() -> None:
    seen: dict[int, list[float]] = {0: [], 1: []}
    whole = set()
    for frame, visible in line_frames(TRUTHS, np.random.default_rng(1), speed_px=90.0):
        assert frame.shape == (FRAME_HEIGHT, FRAME_WIDTH, 3)
        for part in visible:
            seen[part.index].append(part.offset)
            if part.whole:
                whole.add(part.index)

    for offsets in seen.values():
        np.testing.assert_allclose(np.diff(offsets), 90.0)
        assert offsets[0] < -FRAME_WIDTH / 2 < FRAME_WIDTH / 2 < offsets[-1]
    assert whole == {0, 1}


def test_the_box_holds_the_tray_and_the_belt_around_it_is_dark() -> None:
    for number, (frame, visible) in enumerate(line_frames(TRUTHS, np.random.default_rng(1), speed_px=90.0)):
        whole = [part for part in visible if part.whole]
        if number % 3 or not whole:
            continue
        x0, y0, x1, y1 = (round(v) for v in whole[0].box)
        inside = frame[y0 + 30 : y1 - 30, x0 + 30 : x1 - 30].mean()
        above = frame[y0 - 12 : y0 - 3, x0:x1].mean()
        assert inside > 130 > 90 > above


def test_the_same_seed_makes_the_same_film() -> None:
    first = [frame for frame, _ in line_frames(TRUTHS[:1], np.random.default_rng(2), speed_px=300.0)]
    again = [frame for frame, _ in line_frames(TRUTHS[:1], np.random.default_rng(2), speed_px=300.0)]

    np.testing.assert_array_equal(first, again)


def test_a_turned_tray_has_a_larger_box() -> None:
    flat, turned = Pose(480, 270).box(), Pose(480, 270, 4.0).box()

    assert turned[2] - turned[0] > flat[2] - flat[0]
    assert turned[3] - turned[1] > flat[3] - flat[1]


def test_a_tray_half_out_of_the_frame_is_cut_off() -> None:
    art = draw_part(TRUTHS[0], np.random.default_rng(0))

    frame = compose_frame(
        [(art, Pose(0, 270)), (art, Pose(2000, 270))], 0.0, Light(), np.random.default_rng(0)
    )

    assert frame[270, 100].mean() > 130
