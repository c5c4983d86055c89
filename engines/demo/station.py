"""The demo station's picture of a moving line: frames of trays travelling left to right under one camera.

`line_frames` is all a video needs. Knows where each part is in each frame. Does not know recipes or verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lineside.engines.demo.belt import FRAME_HEIGHT, FRAME_WIDTH, Box, Pose, empty_belt, lay, random_pose
from lineside.engines.demo.canvas import Image
from lineside.engines.demo.light import Light, drifting_light, photograph
from lineside.engines.demo.tray import REGIONS, TrayArt, draw_part
from lineside.engines.demo.truth import PartTruth, random_truth

__all__ = ["REGIONS", "PartTruth", "VisiblePart", "compose_frame", "draw_part", "line_frames", "random_truth"]

_REACH = 240.0  # half a tray's largest width, in pixels


@dataclass(frozen=True)
class VisiblePart:
    """A part in a frame: its place in the sequence, its upright box, its centre's offset from the middle."""

    index: int
    box: Box
    offset: float

    @property
    def whole(self) -> bool:
        """Whether all of it is in the picture."""
        return self.box[0] >= 0 and self.box[2] <= FRAME_WIDTH


def compose_frame(
    trays: Sequence[tuple[TrayArt, Pose]], travelled: float, light: Light, rng: np.random.Generator
) -> Image:
    """One 960 x 540 BGR frame of the trays on the belt."""
    frame = empty_belt(travelled)
    for art, pose in trays:
        lay(frame, art, pose)
    return photograph(frame, light, rng)


def line_frames(
    parts: Sequence[PartTruth],
    rng: np.random.Generator,
    *,
    speed_px: float = 24.0,
    pitch_px: float = 640.0,
    light: Light | None = None,
) -> Iterator[tuple[Image, list[VisiblePart]]]:
    """Frames from before the first part enters until the last has left; parts follow each other at
    `pitch_px`.

    The light drifts slowly over the run around `light`. The same parts and generator state give the same
    frames.
    """
    base = light or Light()
    lanes = [random_pose(rng, 0.0, FRAME_HEIGHT / 2 + float(rng.uniform(-4, 4))) for _ in parts]
    drawn: dict[int, TrayArt] = {}
    distance = (len(parts) - 1) * pitch_px + FRAME_WIDTH + 2 * _REACH
    total = int(distance / speed_px) + 2
    for number in range(total):
        travelled = number * speed_px
        trays, visible = [], []
        for index, lane in enumerate(lanes):
            x = travelled - index * pitch_px - _REACH
            if not -_REACH < x < FRAME_WIDTH + _REACH:
                drawn.pop(index, None)
                continue
            if index not in drawn:
                drawn[index] = draw_part(parts[index], rng)
            pose = Pose(x, lane.y, lane.degrees, lane.scale)
            trays.append((drawn[index], pose))
            box = pose.box()
            if box[2] > 0 and box[0] < FRAME_WIDTH:
                visible.append(VisiblePart(index, box, x - FRAME_WIDTH / 2))
        yield compose_frame(trays, travelled, drifting_light(base, number / total, rng), rng), visible
