"""The gates as recipes write them, with the limits of a station nobody has measured yet.

Against a baseline (good parts seen at this station) the limits are relative and much tighter.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lineside.daemon.yamlfile import Strict

Off = Literal["off"]


class BlurGate(Strict):
    """Refuses a defocused or smeared picture."""

    min_sharpness: float = Field(
        default=0.0005, ge=0, description="least sharpness where there is no baseline"
    )
    min_ratio: float = Field(
        default=0.3, ge=0, le=1, description="least sharpness as a share of the baseline's"
    )


class ExposureGate(Strict):
    """Refuses a picture that is too dark, too bright, or cut off at either end."""

    min_mean: float = Field(default=12, ge=0, le=255, description="darkest mean grey level")
    max_mean: float = Field(default=250, ge=0, le=255, description="brightest mean grey level")
    max_dark: float = Field(default=0.95, ge=0, le=1, description="largest share of black pixels")
    max_bright: float = Field(default=0.95, ge=0, le=1, description="largest share of saturated pixels")


class GlareGate(Strict):
    """Refuses a picture with a saturated spot that good parts do not have."""

    max_share: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="largest saturated spot, as a share of the region, without baseline",
    )
    max_more: float = Field(
        default=0.1, ge=0, le=1, description="how much larger it may be than the baseline's"
    )


class DriftGate(Strict):
    """Refuses light that differs from the baseline's. Needs a baseline."""

    max_ratio: float = Field(
        default=1.3,
        gt=1,
        le=10,
        description="brighter or darker than any good part was, by at most this factor",
    )


class RegionMovedGate(Strict):
    """Refuses a region that shows its content elsewhere than the baseline does. Needs a baseline."""

    max_shift: float = Field(
        default=0.2, gt=0, le=0.5, description="largest shift as a share of the region's size"
    )


class BaselineFile(Strict):
    """What good parts look like at this station: made by `lineside recipe learn-gates`."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$", description="file beside the recipe")
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="of that file, so that a recipe means one baseline"
    )


class GateOptions(Strict):
    """Every gate, with its limits or `off`."""

    blur: BlurGate | Off = Field(default=BlurGate(), description="defocus and smear")
    exposure: ExposureGate | Off = Field(default=ExposureGate(), description="too dark, too bright")
    glare: GlareGate | Off = Field(default=GlareGate(), description="saturated spots")
    drift: DriftGate | Off = Field(default=DriftGate(), description="light unlike the baseline's")
    region_moved: RegionMovedGate | Off = Field(
        default=RegionMovedGate(), description="content elsewhere than in the baseline"
    )
    baseline: BaselineFile | None = Field(default=None, description="null: no baseline, absolute limits only")
