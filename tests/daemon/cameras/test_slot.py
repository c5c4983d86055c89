"""Where frames wait: bounded, in order, and every drop is counted."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.cameras.freshness import Freshness, glimpse
from lineside.daemon.cameras.slot import FrameQueue, NewestFrame
from lineside.daemon.values import Frame


def frame(index: int) -> Frame:
    return Frame("cam1", index, np.zeros((2, 2, 3), np.uint8), index, datetime(2026, 1, 1, tzinfo=UTC))


def never() -> bool:
    return False


@given(st.lists(st.booleans(), max_size=60))
def test_the_newest_frame_is_taken_once_and_the_rest_is_counted(puts: list[bool]) -> None:
    slot = NewestFrame()
    number, taken = 0, []
    for is_put in puts:
        if is_put:
            slot.put(frame(number), never)
            number += 1
        elif (got := slot.take(0)) is not None:
            assert got.index == number - 1
            taken.append(got.index)

    left = 1 if slot.take(0) is not None else 0
    assert len(taken) == len(set(taken))
    assert len(taken) + slot.dropped + left == number


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 5))
def test_a_live_queue_keeps_order_and_counts_what_made_room(puts: list[bool], capacity: int) -> None:
    queue = FrameQueue(capacity, lossless=False)
    number, taken = 0, []
    for is_put in puts:
        if is_put:
            queue.put(frame(number), never)
            number += 1
        elif (got := queue.take(0)) is not None:
            taken.append(got.index)
        assert len(queue) <= capacity
    while (got := queue.take(0)) is not None:
        taken.append(got.index)

    assert taken == sorted(taken)
    assert len(taken) + queue.dropped == number


def test_a_lossless_queue_makes_the_camera_wait_and_gives_up_only_when_stopping() -> None:
    queue = FrameQueue(1, lossless=True)
    queue.put(frame(0), never)
    asked = iter([False, False, True])

    queue.put(frame(1), lambda: next(asked))

    assert queue.dropped == 1
    got = queue.take(0)
    assert got is not None
    assert got.index == 0


def test_what_has_ended_is_finished_only_when_everything_was_taken() -> None:
    queue, slot = FrameQueue(3, lossless=True), NewestFrame()
    for sink in (queue, slot):
        sink.put(frame(0), never)
        sink.finish()
        assert not sink.finished
        assert sink.take(0) is not None
        assert sink.finished
        assert sink.take(60) is None  # at once: nothing more will come
        sink.put(frame(1), never)  # the camera opened again
        assert not sink.finished


def test_a_queue_for_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        FrameQueue(0, lossless=True)


def test_the_newest_frame_can_be_looked_at_without_taking_it() -> None:
    slot = NewestFrame()
    assert slot.peek() is None
    slot.put(frame(0), never)

    assert slot.peek() is slot.take(0)
    assert slot.peek() is not None


def test_pictures_that_repeat_for_long_are_frozen_until_one_differs() -> None:
    freshness = Freshness(frozen_after_s=2.0)
    rng = np.random.default_rng(1)
    one, other = (glimpse(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)) for _ in range(2))

    for second in range(3):
        freshness.see(one, second * 1_000_000_000)
    assert freshness.frozen_for_s == 2.0
    assert freshness.repeated == 2

    freshness.see(other, 3_000_000_000)
    assert freshness.frozen_for_s is None


def test_a_reopened_source_is_not_frozen_by_the_picture_it_had_before() -> None:
    freshness = Freshness(frozen_after_s=1.0)
    one = glimpse(np.full((8, 8, 3), 90, np.uint8))
    freshness.see(one, 0)
    freshness.reopened()

    freshness.see(one, 5_000_000_000)

    assert freshness.frozen_for_s is None


def test_one_changed_pixel_is_a_change() -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    changed = image.copy()
    changed[3, 5, 1] = 91

    assert glimpse(image) != glimpse(changed)


@pytest.mark.parametrize(("level", "black"), [(0, True), (9, True), (10, False), (200, False)])
def test_a_picture_without_light_is_black(level: int, black: bool) -> None:
    freshness = Freshness(None)
    freshness.see(glimpse(np.full((64, 64, 3), level, np.uint8)), 0)

    assert freshness.black is black
