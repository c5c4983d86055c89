"""What one question is shown besides a single crop: a golden reference, or a short clip. Values only."""

from __future__ import annotations

from pydantic import Field

from lineside.daemon.yamlfile import Strict


class GoldenFile(Strict):
    """A picture of how it should look: shown to the engine before the part's own. Kept beside the recipe."""

    file: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$", description="picture file beside the recipe"
    )
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="of that file, so that a recipe means one reference"
    )


class ClipOption(Strict):
    """The place over time: pictures evenly spaced from `seconds` before the trigger's frame up to it."""

    frames: int = Field(
        default=8, ge=2, le=32, description="pictures in the clip, the trigger's frame included"
    )
    seconds: float = Field(default=2.0, gt=0, le=30, description="from the first of them to the last")

    @property
    def fps(self) -> float:
        """Pictures a second of the clip."""
        return (self.frames - 1) / self.seconds

    @property
    def interval_ns(self) -> int:
        """From one picture to the next."""
        return round(1e9 / self.fps)
