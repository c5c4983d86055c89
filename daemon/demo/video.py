"""Draws the demonstration's line video and the truth beside it, from a seed.

The pictures come from the demo station of `lineside.engines.demo`; here they become a file that a
camera can play. Knows nothing of recipes or verdicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lineside.daemon.demo.truth import PartOnLine, write_truth
from lineside.engines.demo.station import line_frames, random_truth

FRAMES_PER_SECOND = 30
SPEED_PX = 60
"""How far the belt moves between two frames, in pixels."""
PITCH_PX = 600
"""From one part's centre to the next, in pixels: ten frames a part."""


@dataclass(frozen=True, slots=True)
class DrawnLine:
    """A video with its truth. `reach`: how many frames from its centred frame a part may be judged."""

    video: Path
    truth: Path
    parts: list[PartOnLine]
    reach: int


def draw_line(
    folder: Path, *, parts: int, seed: int, good_share: float, progress: Callable[[int], None] | None = None
) -> DrawnLine:
    """Draws `parts` parts into `folder/line.avi` and `folder/truth.json`.

    Motion JPEG: every frame stands alone, as a machine camera gives it, and no codec is needed that
    a box may lack. `progress` is called with the number of parts that have passed the centre.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng, good_share=good_share) for _ in range(parts)]
    nearest: dict[int, tuple[float, int]] = {}
    path = folder / "line.avi"
    writer: cv2.VideoWriter | None = None
    try:
        for number, (frame, visible) in enumerate(
            line_frames(truths, rng, speed_px=SPEED_PX, pitch_px=PITCH_PX)
        ):
            if writer is None:
                height, width = frame.shape[:2]
                code = cv2.VideoWriter.fourcc(*"MJPG")
                writer = cv2.VideoWriter(str(path), code, FRAMES_PER_SECOND, (width, height))
                writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 92)
            writer.write(frame)
            for part in visible:
                offset = abs(part.offset)
                if part.index not in nearest or offset < nearest[part.index][0]:
                    nearest[part.index] = (offset, number)
                    if progress is not None:
                        progress(len(nearest))
    finally:
        if writer is not None:
            writer.release()
    drawn = [
        PartOnLine(
            index=index,
            frame=nearest[index][1],
            is_good=truth.good,
            cap=str(truth.cap),
            tablets=truth.tablets,
            code=truth.code,
            code_valid=truth.code_valid,
        )
        for index, truth in enumerate(truths)
    ]
    truth_path = folder / "truth.json"
    write_truth(truth_path, drawn)
    return DrawnLine(path, truth_path, drawn, reach=PITCH_PX // SPEED_PX // 2 - 1)
