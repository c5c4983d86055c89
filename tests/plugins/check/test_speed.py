"""Times beside the floor that memory sets, with tensors that no cache holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emulated_device import FACTS, MEMORY, EmulatedDevice
from scaled_add import KERNEL

from lineside.plugins.check.buffers import arguments
from lineside.plugins.check.device import Loaded
from lineside.plugins.check.speed import LAUNCHES, copies_beyond_cache, copy_bandwidth, measure
from lineside.plugins.operator import Case
from lineside.plugins.ptx.compile import Compiled

VARIANT = KERNEL.variants[0]


def loaded() -> Loaded:
    """The sample, on a device that only times it."""
    compiled = Compiled(kernel=KERNEL, variant=VARIANT, target="sm_87", ptx="")
    return Loaded(compiled=compiled, handle=None, registers=1, local=0, shared=0)


def case(tokens: int, width: int) -> Case:
    return KERNEL.draw(np.random.default_rng(0), {"T": tokens, "N": width}, VARIANT)


def test_bandwidth_counts_what_is_read_and_what_is_written() -> None:
    assert copy_bandwidth(EmulatedDevice(copy_bytes_s=80e9)) == pytest.approx(80e9)


def test_a_launch_is_the_median_pass_shared_out() -> None:
    device = EmulatedDevice(pass_seconds=1e-3)
    given = case(100, 1000)

    speed = measure(device, loaded(), given, bytes_s=80e9, repeats=3)

    launches = len(device.timed[0])
    assert speed.seconds == pytest.approx(2e-3 / launches)
    assert speed.floor == pytest.approx(800_000 / 80e9)
    assert speed.fraction == pytest.approx(speed.floor / speed.seconds)
    assert speed.flops_s == pytest.approx(200_000 / speed.seconds)
    assert device.allocated == {}


def test_each_launch_of_a_pass_has_tensors_of_its_own() -> None:
    device = EmulatedDevice()

    speed = measure(device, loaded(), case(100, 100), bytes_s=80e9, repeats=1)

    (calls,) = device.timed
    assert len({call.outputs for call in calls}) == len({call.inputs for call in calls}) == len(calls)
    assert len(calls) * 80_000 >= 4 * FACTS.cache
    assert not speed.cached


def test_large_tensors_need_no_copies_and_are_launched_often_enough_to_time() -> None:
    device = EmulatedDevice()

    speed = measure(device, loaded(), case(1000, 1000), bytes_s=80e9, repeats=1)

    (calls,) = device.timed
    assert len({call.outputs for call in calls}) == 1
    assert len(calls) == LAUNCHES
    assert not speed.cached


def test_tensors_too_small_to_fill_the_cache_are_said_to_come_from_it() -> None:
    assert measure(EmulatedDevice(), loaded(), case(1, 1), bytes_s=80e9, repeats=1).cached


def test_copies_take_at_most_half_of_what_memory_is_left() -> None:
    big = replace(FACTS, cache=MEMORY)
    device = EmulatedDevice(facts=big)
    given = arguments(loaded(), case(512, 256))

    assert copies_beyond_cache(device, given) == MEMORY // 2 // given.footprint
