"""What was really on the line: one entry a part, with the frames in which it is nearest the centre.

Written beside the video when it is drawn. Knows nothing of verdicts.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PartOnLine:
    """One drawn part. `frame` is the video frame in which it is nearest the centre of the view."""

    index: int
    frame: int
    is_good: bool
    cap: str
    tablets: int
    code: str
    code_valid: bool


def write_truth(path: Path, parts: list[PartOnLine]) -> None:
    """One JSON object with all parts."""
    path.write_text(json.dumps({"parts": [asdict(part) for part in parts]}, indent=1))


def read_truth(path: Path) -> list[PartOnLine]:
    """The parts of a truth file, in order."""
    return [PartOnLine(**entry) for entry in json.loads(path.read_text())["parts"]]


def part_at(parts: list[PartOnLine], frame: int, *, reach: int) -> PartOnLine | None:
    """The part nearest the centre in `frame`, if its centred frame is at most `reach` frames away."""
    nearest = min(parts, key=lambda part: abs(part.frame - frame), default=None)
    if nearest is None or abs(nearest.frame - frame) > reach:
        return None
    return nearest
