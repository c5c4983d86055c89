"""The motion trigger on pictures: every drawn part once, with a box within three pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lineside.daemon.triggers.base import TriggerHit
from lineside.daemon.triggers.motion.locate import locate_part
from lineside.daemon.triggers.motion.trigger import MotionTrigger
from lineside.daemon.triggers.options import MotionOptions
from lineside.daemon.values import Box, Frame, Picture
from lineside.engines.demo.station import VisiblePart, line_frames, random_truth

WIDTH, HEIGHT = 480, 270
NOISE = np.random.default_rng(1).standard_normal((HEIGHT + 20, WIDTH + 20, 3)).astype(np.float32)

Pixels = tuple[float, float, float, float]


def frame(index: int, image: Picture) -> Frame:
    return Frame("cam1", index, image, index * 33_000_000, datetime(2026, 1, 1, tzinfo=UTC))


def draw(
    boxes: Iterable[Pixels], *, part: int, belt: NDArray[np.float32], gain: float, index: int
) -> Picture:
    picture = belt.copy()
    for x0, y0, x1, y1 in boxes:
        picture[max(round(y0), 0) : max(round(y1), 0), max(round(x0), 0) : max(round(x1), 0)] = part
    shift = index * 7 % 20
    noise = NOISE[shift : shift + HEIGHT, 20 - shift : 20 - shift + WIDTH]
    return np.clip(picture * gain + 2.5 * noise, 0, 255).astype(np.uint8)


def plain_belt(level: int) -> NDArray[np.float32]:
    return np.full((HEIGHT, WIDTH, 3), level, np.float32)


def trigger(**options: object) -> MotionTrigger:
    return MotionTrigger(MotionOptions.model_validate({"kind": "motion", **options}))


def run(
    motion: MotionTrigger,
    frames: Iterator[tuple[Picture, dict[int, Pixels]]],
) -> list[tuple[int, float]]:
    """For each hit the part it was for and the largest error of its box in pixels."""
    places: dict[int, dict[int, Pixels]] = {}
    hits: list[TriggerHit] = []
    for index, (image, parts) in enumerate(frames):
        places[index] = parts
        hits += motion.see(frame(index, image))
    hits += motion.finish()
    found = []
    for hit in hits:
        assert hit.part_box is not None
        height, width = hit.frame.image.shape[:2]
        box = np.array(hit.part_box) * (width, height, width, height)
        errors = {k: float(np.abs(box - place).max()) for k, place in places[hit.frame.index].items()}
        part = min(errors, key=lambda k: errors[k])
        found.append((part, errors[part]))
    return found


def moving(
    parts: int,
    size: tuple[int, int],
    pitch: int,
    speed: float,
    *,
    part: int,
    belt: NDArray[np.float32],
    way: str,
) -> Iterator[tuple[Picture, dict[int, Pixels]]]:
    w, h = size
    across = way in ("right", "left")
    length, along = (WIDTH, w) if across else (HEIGHT, h)
    travelled, index = 0.0, 0
    while travelled < length + along + (parts - 1) * pitch + 2 * speed:
        boxes: dict[int, Pixels] = {}
        for k in range(parts):
            at = travelled - k * pitch - along
            if -along < at < length:
                start = at if way in ("right", "down") else length - at - along
                lane = (k * 5 % 11) - 5
                middle = (HEIGHT if across else WIDTH) / 2 + lane
                boxes[k] = (
                    (start, middle - h / 2, start + w, middle + h / 2)
                    if across
                    else (middle - w / 2, start, middle + w / 2, start + h)
                )
        gain = 1 + 0.12 * float(np.sin(index / 15))
        yield draw(boxes.values(), part=part, belt=belt, gain=gain, index=index), boxes
        travelled += speed
        index += 1


@pytest.mark.parametrize(
    ("size", "pitch", "speed", "part", "belt", "way", "options"),
    [
        ((160, 90), 240, 31.0, 190, 60, "right", {}),
        ((60, 60), 130, 23.7, 190, 60, "left", {"polarity": "bright", "direction": "left"}),
        ((150, 110), 200, 35.0, 50, 160, "right", {"polarity": "dark"}),
        ((90, 70), 110, 14.3, 50, 160, "down", {"direction": "down"}),
        ((90, 70), 110, 27.0, 200, 90, "up", {}),
        ((40, 30), 75, 11.0, 120, 60, "right", {"min_area": 0.005}),
    ],
)
def test_each_part_is_judged_once_and_its_box_holds(
    size: tuple[int, int],
    pitch: int,
    speed: float,
    part: int,
    belt: int,
    way: str,
    options: dict[str, object],
) -> None:
    motion = trigger(**options)

    found = run(motion, moving(12, size, pitch, speed, part=part, belt=plain_belt(belt), way=way))

    assert sorted(part for part, _ in found) == list(range(12))
    assert max(error for _, error in found) <= 3
    assert motion.ignored == 0


def test_fixed_things_beside_the_belt_are_no_parts() -> None:
    belt = plain_belt(60)
    belt[:40] = belt[-40:] = 150  # rails
    belt[10:25, 60:80] = belt[10:25, 300:320] = 230  # screws

    found = run(
        trigger(polarity="bright"), moving(10, (150, 90), 220, 29.0, part=190, belt=belt, way="right")
    )

    assert sorted(part for part, _ in found) == list(range(10))
    assert max(error for _, error in found) <= 3


def test_only_the_region_counts() -> None:
    motion = trigger(polarity="bright", region=[0.25, 0.1, 0.75, 0.9])

    found = run(motion, moving(8, (120, 90), 200, 17.0, part=190, belt=plain_belt(60), way="right"))

    assert sorted(part for part, _ in found) == list(range(8))


def test_a_region_that_never_holds_the_whole_part_says_so_by_its_counter() -> None:
    motion = trigger(polarity="bright", region=[0.4, 0.1, 0.6, 0.9], max_area=1.0)

    found = run(motion, moving(5, (150, 90), 300, 17.0, part=190, belt=plain_belt(60), way="right"))

    assert found == []
    assert motion.ignored == 5


def test_an_empty_belt_under_changing_light_gives_no_part() -> None:
    motion = trigger()
    hits = []
    for index in range(200):
        gain = 1 + 0.3 * float(np.sin(index / 40)) + (0.2 if index > 120 else 0.0)
        hits += motion.see(frame(index, draw([], part=0, belt=plain_belt(90), gain=gain, index=index)))

    assert hits == [] == list(motion.finish())


def test_another_picture_size_and_a_reopened_source_start_afresh() -> None:
    motion = trigger(polarity="bright")
    belt = plain_belt(60)
    found = 0
    for _ in range(2):  # the second time indices start at 0 again
        for index, (image, _) in enumerate(moving(3, (120, 80), 200, 25.0, part=190, belt=belt, way="right")):
            found += len(motion.see(frame(index, image)))
    half = cv2.resize(belt.astype(np.uint8), (WIDTH // 2, HEIGHT // 2))
    found += len(motion.see(frame(index + 1, np.asarray(half, dtype=np.uint8))))

    assert found == 6


def demonstration(
    seed: int, parts: int, speed: float, pitch: float
) -> Iterator[tuple[Picture, dict[int, Pixels]]]:
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng, good_share=0.6) for _ in range(parts)]
    for image, visible in line_frames(truths, rng, speed_px=speed, pitch_px=pitch):
        yield image, {part.index: part.box for part in visible}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "speed", "pitch", "options"),
    [
        (1, 60, 600, {"polarity": "bright", "region": [0.0, 0.1, 1.0, 0.9]}),
        (2, 70, 560, {}),
        (3, 51.3, 640, {"polarity": "bright"}),
    ],
)
def test_every_tray_of_the_demonstration_is_judged_once(
    seed: int, speed: float, pitch: float, options: dict[str, object]
) -> None:
    motion = trigger(**options)

    found = run(motion, demonstration(seed, 12, speed, pitch))

    assert sorted(part for part, _ in found) == list(range(12))
    assert max(error for _, error in found) <= 3
    assert motion.ignored == 0


def test_one_tray_is_found_in_one_picture() -> None:
    centred: tuple[float, Picture, VisiblePart] | None = None
    rng = np.random.default_rng(5)
    for image, visible in line_frames([random_truth(rng)], rng, speed_px=90):
        for part in visible:
            if centred is None or abs(part.offset) < centred[0]:
                centred = (abs(part.offset), image, part)
    assert centred is not None
    _, image, part = centred

    box = locate_part(image, MotionOptions(kind="motion", polarity="bright"))

    assert box is not None
    assert np.abs(np.array(box) * (960, 540, 960, 540) - part.box).max() <= 3


@pytest.mark.parametrize("polarity", ["auto", "bright", "dark"])
def test_an_empty_picture_holds_no_part(polarity: str) -> None:
    empty = draw([], part=0, belt=plain_belt(90), gain=1, index=0)

    assert locate_part(empty, MotionOptions.model_validate({"kind": "motion", "polarity": polarity})) is None


def test_of_two_parts_the_one_nearest_the_centre_is_located() -> None:
    near: Box = (200, 80, 290, 160)
    image = draw([(20, 80, 110, 160), near], part=190, belt=plain_belt(60), gain=1, index=0)

    box = locate_part(image, MotionOptions(kind="motion"))

    assert box is not None
    assert np.abs(np.array(box) * (WIDTH, HEIGHT, WIDTH, HEIGHT) - near).max() <= 2


def test_a_region_of_a_few_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        trigger(region=[0.5, 0.5, 0.51, 0.51]).see(
            frame(0, draw([], part=0, belt=plain_belt(9), gain=1, index=0))
        )
