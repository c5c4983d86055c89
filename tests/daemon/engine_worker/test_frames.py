"""Pictures in shared memory: they arrive whole, and nobody sees another ask's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineside.daemon.engine_worker.frames import (
    FrameReader,
    FrameSlots,
    NotAPicture,
    PicturesTooLarge,
    WrongSlot,
)
from lineside.daemon.engine_worker.messages import AskEngine, PictureRef
from lineside.engines.base import Clip, Free, Image, Prompt

SLOT_BYTES = 4096


@pytest.fixture
def slots() -> Iterator[FrameSlots]:
    memory = FrameSlots(3, SLOT_BYTES)
    memory.open()
    yield memory
    memory.close()


def request(number: int, slot: int, pictures: tuple[PictureRef, ...]) -> AskEngine:
    """The message that would name these pictures."""
    return AskEngine(number, slot, pictures, Prompt(), Free(), 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    slot=st.integers(0, 2),
    sizes=st.lists(
        st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=3
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_put_is_what_is_read(
    slots: FrameSlots, slot: int, sizes: list[tuple[int, int, int]], seed: int
) -> None:
    random = np.random.default_rng(seed)
    images: list[Image | Clip] = []
    for height, width, frames in sizes:
        if frames:
            images.append(Clip(random.integers(0, 256, (frames, height, width, 3), np.uint8), 1.5))
        else:
            images.append(random.integers(0, 256, (width, height, 3), np.uint8).transpose(1, 0, 2))
    refs = slots.put(slot, 9, images)
    read = FrameReader(slots.fd, 3, SLOT_BYTES).pictures(request(9, slot, refs))
    for image, found in zip(images, read, strict=True):
        if isinstance(image, Clip):
            assert isinstance(found, Clip)
            assert found.fps == image.fps
            np.testing.assert_array_equal(found.frames, image.frames)
        else:
            assert isinstance(found, np.ndarray)
            np.testing.assert_array_equal(found, image)


def test_slots_do_not_touch_each_other(slots: FrameSlots) -> None:
    largest = SLOT_BYTES - 64
    full = [np.full((1, largest // 3, 3), n + 1, np.uint8) for n in range(3)]
    refs = [slots.put(n, n, [full[n]]) for n in range(3)]
    reader = FrameReader(slots.fd, 3, SLOT_BYTES)
    for n in (2, 0, 1):
        [picture] = reader.pictures(request(n, n, refs[n]))
        np.testing.assert_array_equal(picture, full[n])


def test_the_reader_cannot_write(slots: FrameSlots) -> None:
    refs = slots.put(0, 1, [np.zeros((2, 2, 3), np.uint8)])
    [picture] = FrameReader(slots.fd, 3, SLOT_BYTES).pictures(request(1, 0, refs))
    assert isinstance(picture, np.ndarray)
    with pytest.raises(ValueError, match="read-only"):
        picture[0, 0, 0] = 1


def test_a_slot_of_another_ask_is_refused(slots: FrameSlots) -> None:
    refs = slots.put(0, 1, [np.zeros((2, 2, 3), np.uint8)])
    reader = FrameReader(slots.fd, 3, SLOT_BYTES)
    mine = request(1, 0, refs)
    reader.check(mine)
    slots.put(0, 2, [np.ones((2, 2, 3), np.uint8)])
    with pytest.raises(WrongSlot, match="ask 2, not of ask 1"):
        reader.pictures(mine)
    assert len(reader.pictures(replace(mine, id=2))) == 1


def test_too_much_is_refused_whole(slots: FrameSlots) -> None:
    half = np.zeros((30, 30, 3), np.uint8)
    slots.put(0, 1, [half])
    with pytest.raises(PicturesTooLarge, match="5,400 bytes exceed the 4,032"):
        slots.put(0, 2, [half, half])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_an_array_that_is_no_picture_is_refused(slots: FrameSlots, array: Image) -> None:
    with pytest.raises(NotAPicture, match="not an RGB uint8 picture"):
        slots.put(0, 1, [array])


def test_the_memory_has_no_name_that_could_stay_behind(slots: FrameSlots) -> None:
    assert "(deleted)" in str(Path(f"/proc/self/fd/{slots.fd}").readlink())


def test_closed_memory_takes_nothing() -> None:
    memory = FrameSlots(1, SLOT_BYTES)
    with pytest.raises(ValueError, match="not open"):
        memory.put(0, 1, [])
    memory.open()
    memory.close()
    memory.close()
    with pytest.raises(ValueError, match="not open"):
        memory.put(0, 1, [])
