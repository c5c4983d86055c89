"""The last seconds of a camera: enough for the recipe's clips, no more, and never pictures out of place."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.daemon.cameras import recent as recent_module
from lineside.daemon.cameras.recent import LAG_NS, RecentFrames
from lineside.daemon.recipes.sight import ClipOption
from lineside.daemon.values import Frame

CLIP = ClipOption(frames=5, seconds=2)  # one picture every half second


def frame(index: int, at_s: float, *, played: bool = False) -> Frame:
    image = np.full((4, 6, 3), index % 256, np.uint8)
    at_ns = round(at_s * 1e9)
    return Frame("cam", index, image, 0 if played else at_ns, datetime.now(UTC), at_ns if played else None)


def shown(recent: RecentFrames, frames: list[Frame]) -> None:
    for one in frames:
        recent.put(one, lambda: False)


@pytest.mark.parametrize("played", [False, True])
def test_a_clip_is_evenly_spaced_and_ends_with_the_triggers_frame(played):
    recent = RecentFrames()
    recent.keep([CLIP])
    frames = [frame(index, index / 30, played=played) for index in range(120)]
    shown(recent, frames)

    clip = recent.clip(frames[100], CLIP)

    assert clip[-1] is frames[100]
    assert len(clip) == 5
    steps = np.diff([one.index for one in clip])
    assert np.abs(steps - 15).max() <= 4, "half a second is fifteen frames; a kept one is at most 4 off"


def test_frames_that_came_after_the_triggers_are_not_shown():
    recent = RecentFrames()
    recent.keep([CLIP])
    frames = [frame(index, index / 10) for index in range(60)]
    shown(recent, frames)

    assert all(one.index <= 30 for one in recent.clip(frames[30], CLIP))


def test_a_camera_that_has_just_begun_gives_fewer_pictures_instead_of_repeating_one():
    recent = RecentFrames()
    recent.keep([CLIP])
    frames = [frame(index, index / 30) for index in range(16)]
    shown(recent, frames)

    clip = recent.clip(frames[-1], CLIP)

    assert [one.index for one in clip] == [0, 15]


def test_a_source_that_was_opened_again_does_not_mix_with_what_it_showed_before():
    recent = RecentFrames()
    recent.keep([CLIP])
    shown(recent, [frame(index, index / 10) for index in range(60)])
    again = frame(0, 6.1)
    shown(recent, [again])

    assert recent.clip(again, CLIP) == (again,)


def test_a_picture_handed_in_from_outside_has_no_past():
    recent = RecentFrames()
    recent.keep([CLIP])
    shown(recent, [frame(index, index / 10) for index in range(60)])
    handed_in = frame(0, 6.0)

    assert recent.clip(handed_in, CLIP) == (handed_in,)


def test_nothing_is_kept_for_a_recipe_without_clips():
    recent = RecentFrames()
    shown(recent, [frame(0, 0.0)])
    assert recent.size_bytes == 0

    recent.keep([CLIP])
    shown(recent, [frame(1, 0.1)])
    recent.keep([])

    assert recent.size_bytes == 0


def test_memory_is_bounded_and_a_clip_beyond_it_is_short_instead_of_wrong(monkeypatch):
    monkeypatch.setattr(recent_module, "MOST_BYTES", 3 * 4 * 6 * 3)
    recent = RecentFrames()
    recent.keep([CLIP])
    frames = [frame(index, index / 4) for index in range(40)]
    shown(recent, frames)

    assert recent.size_bytes <= 3 * 4 * 6 * 3
    assert len(recent.clip(frames[-1], CLIP)) < CLIP.frames


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.001, 0.7), min_size=1, max_size=200),
    st.integers(2, 32),
    st.floats(0.2, 10),
)
def test_whatever_the_pace_pictures_stay_in_order_near_their_moments_and_bounded(pauses, count, seconds):
    wanted = ClipOption(frames=count, seconds=seconds)
    recent = RecentFrames()
    recent.keep([wanted])
    times = np.cumsum(pauses)
    frames = [frame(index, float(at)) for index, at in enumerate(times)]
    shown(recent, frames)

    clip = recent.clip(frames[-1], wanted)

    indices = [one.index for one in clip]
    assert indices == sorted(set(indices))
    assert 1 <= len(clip) <= count
    moments = [frames[-1].captured_ns - step * wanted.interval_ns for step in range(count)]
    assert all(
        min(abs(one.captured_ns - moment) for moment in moments) <= wanted.interval_ns / 2 + 1 for one in clip
    )
    kept = recent.size_bytes // (4 * 6 * 3)
    assert kept <= (seconds * 1e9 + LAG_NS) / (wanted.interval_ns // 2) + 2
