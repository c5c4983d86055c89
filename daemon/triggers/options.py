"""The triggers as recipes and settings write them. Options only: `make.py` gives them life."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lineside.daemon.geometry import BoxOption
from lineside.daemon.yamlfile import Strict, located

Polarity = Literal["auto", "bright", "dark"]
Direction = Literal["any", "right", "left", "up", "down"]


class IntervalOptions(Strict):
    """One inspection every so often, by time or by frames; exactly one of the two."""

    kind: Literal["interval"]
    every_ms: int | None = Field(
        default=None, ge=1, description="milliseconds from one inspection to the next"
    )
    every_frames: int | None = Field(default=None, ge=1, description="frames from one inspection to the next")

    @model_validator(mode="after")
    def _exactly_one(self) -> IntervalOptions:
        if (self.every_ms is None) == (self.every_frames is None):
            raise located([((), "give either every_ms or every_frames")])
        return self


class EveryFrameOptions(Strict):
    """Every frame is an inspection: for folders of pictures."""

    kind: Literal["every_frame"]


class MotionOptions(Strict):
    """A part that travels through the view is one inspection, on the frame where it is nearest the centre."""

    kind: Literal["motion"]
    region: BoxOption = Field(
        default=(0.0, 0.0, 1.0, 1.0),
        description="where parts are looked for, x0, y0, x1, y1 in fractions of the frame; "
        "a part is judged when it lies wholly inside",
    )
    min_area: float = Field(
        default=0.01, gt=0, lt=1, description="smallest part: its box as a share of the region's area"
    )
    max_area: float = Field(
        default=0.8, gt=0, le=1, description="largest part: its box as a share of the region's area"
    )
    polarity: Polarity = Field(
        default="auto",
        description="`bright` parts on a darker belt, `dark` parts on a brighter one, or `auto`",
    )
    direction: Direction = Field(
        default="any", description="where parts travel to in the picture; others are not judged"
    )
    min_contrast: float = Field(
        default=24.0, gt=0, le=255, description="grey levels by which a part differs from the belt at least"
    )
    centre_tolerance: float = Field(
        default=0.02,
        ge=0,
        le=0.5,
        description="judged at once when this near the region's centre (share of its longer side)",
    )
    settle_ms: int | None = Field(
        default=2000,
        ge=1,
        description="a part that stands still this long is judged where it stands; null: never",
    )

    @model_validator(mode="after")
    def _areas_in_order(self) -> MotionOptions:
        if self.min_area >= self.max_area:
            raise located([(("min_area",), "must be smaller than max_area")])
        return self


class MqttOptions(Strict):
    """A message on the broker asks for the inspection, on the newest frame."""

    kind: Literal["mqtt"]


class GrpcOptions(Strict):
    """A gRPC call asks for the inspection, on the newest frame."""

    kind: Literal["grpc"]


TriggerOptions = Annotated[
    IntervalOptions | EveryFrameOptions | MotionOptions | MqttOptions | GrpcOptions,
    Field(discriminator="kind"),
]
