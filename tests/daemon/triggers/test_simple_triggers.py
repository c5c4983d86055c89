"""Triggers that look at no pixel: interval, every frame, and those from outside."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.triggers.every_frame import EveryFrameTrigger
from lineside.daemon.triggers.interval import IntervalTrigger
from lineside.daemon.triggers.make import make_trigger
from lineside.daemon.triggers.motion.trigger import MotionTrigger
from lineside.daemon.triggers.options import (
    EveryFrameOptions,
    GrpcOptions,
    IntervalOptions,
    MotionOptions,
    MqttOptions,
    TriggerOptions,
)
from lineside.daemon.values import Frame

PICTURE = np.zeros((4, 4, 3), np.uint8)


def frame(index: int, at_ms: int) -> Frame:
    return Frame("cam1", index, PICTURE, at_ms * 1_000_000, datetime(2026, 1, 1, tzinfo=UTC))


def hit_times(trigger: IntervalTrigger, times_ms: list[int]) -> list[int]:
    hits = [hit for index, at in enumerate(times_ms) for hit in trigger.see(frame(index, at))]
    return [hit.at_ns // 1_000_000 for hit in hits]


def test_an_interval_hits_on_the_first_frame_and_then_on_the_first_of_each_period() -> None:
    trigger = IntervalTrigger(IntervalOptions(kind="interval", every_ms=100))

    assert hit_times(trigger, list(range(0, 400, 33))) == [0, 132, 231, 330]


def test_a_gap_in_the_frames_costs_one_inspection_and_not_a_burst() -> None:
    trigger = IntervalTrigger(IntervalOptions(kind="interval", every_ms=100))

    assert hit_times(trigger, [0, 50, 1010, 1020, 1090, 1100]) == [0, 1010, 1100]


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 300))
def test_there_is_at_most_one_hit_a_period_and_none_is_forgotten(steps: list[int], period: int) -> None:
    times = list(np.cumsum(steps).tolist())
    hits = hit_times(IntervalTrigger(IntervalOptions(kind="interval", every_ms=period)), times)

    periods = [(at - times[0]) // period for at in hits]
    assert periods == sorted({(at - times[0]) // period for at in times})


def test_an_interval_by_frames_counts_frames() -> None:
    trigger = IntervalTrigger(IntervalOptions(kind="interval", every_frames=3))

    hits = [index for index in range(8) if trigger.see(frame(index, 0))]

    assert hits == [0, 3, 6]


def test_every_frame_is_every_frame() -> None:
    trigger = EveryFrameTrigger()

    assert [trigger.see(frame(index, index))[0].frame.index for index in range(3)] == [0, 1, 2]
    assert trigger.finish() == ()


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (IntervalOptions(kind="interval", every_ms=5), IntervalTrigger),
        (EveryFrameOptions(kind="every_frame"), EveryFrameTrigger),
        (MotionOptions(kind="motion"), MotionTrigger),
        (MqttOptions(kind="mqtt"), type(None)),
        (GrpcOptions(kind="grpc"), type(None)),
    ],
)
def test_options_make_their_trigger_and_none_where_the_call_comes_from_outside(
    options: TriggerOptions, kind: type
) -> None:
    assert isinstance(make_trigger(options), kind)
