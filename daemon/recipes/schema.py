"""A recipe as people write it (contract): camera, trigger, regions, questions, gates, limits, evidence.

What this version does not implement is refused by name, never ignored. Knows no engine and no camera.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from lineside.daemon.gates.options import GateOptions
from lineside.daemon.geometry import BoxOption
from lineside.daemon.recipes.asks import Ask, NoteName
from lineside.daemon.triggers.options import TriggerOptions
from lineside.daemon.values import Box, Verdict
from lineside.daemon.yamlfile import KeyPath, Strict, located, nearest

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]

_DURATION = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[hd])")
_PERCENT = re.compile(r"(?P<number>[0-9]{1,3}(?:\.[0-9]{1,4})?)%")


class Keep(Strict):
    """How much evidence of one verdict is kept, and how long. `duration` None: as long as the quota lasts."""

    share: float = Field(default=1.0, ge=0, le=1)
    duration: timedelta | None = None

    def __str__(self) -> str:
        if self.duration is None:
            return f"{self.share * 100:g}%"
        hours = round(self.duration.total_seconds() / 3600)
        return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


def _read_keep(given: object) -> object:
    if not isinstance(given, str):
        return given
    if duration := _DURATION.fullmatch(given):
        number = int(duration["number"])
        return {"duration": timedelta(days=number) if duration["unit"] == "d" else timedelta(hours=number)}
    percent = _PERCENT.fullmatch(given)
    if percent is not None and float(percent["number"]) <= 100:
        return {"share": float(percent["number"]) / 100}
    raise located([((), f"must be a time like 90d or 12h, or a share like 1%; here it is '{given}'")])


KeepOption = Annotated[
    Keep, BeforeValidator(_read_keep, json_schema_input_type=str), PlainSerializer(str, return_type=str)
]


class EvidenceKeep(Strict):
    """Per verdict: a time (`90d`, `12h`: all of it) or a share (`1%` of the results, as room allows)."""

    NOT_OK: KeepOption = Field(
        default=Keep(duration=timedelta(days=90)),
        description="evidence of bad parts",
        json_schema_extra={"default": "90d"},
    )
    NOT_DECIDABLE: KeepOption = Field(
        default=Keep(duration=timedelta(days=90)),
        description="evidence of parts for review",
        json_schema_extra={"default": "90d"},
    )
    OK: KeepOption = Field(
        default=Keep(share=0.01), description="evidence of good parts", json_schema_extra={"default": "1%"}
    )

    def of(self, verdict: Verdict) -> Keep:
        """What to keep of a result with this verdict."""
        match verdict:
            case Verdict.OK:
                return self.OK
            case Verdict.NOT_OK:
                return self.NOT_OK
            case Verdict.NOT_DECIDABLE:
                return self.NOT_DECIDABLE


class Evidence(Strict):
    """What pictures are kept."""

    keep: EvidenceKeep = EvidenceKeep()


class Limits(Strict):
    """How long an inspection may take, and how old its picture may be."""

    deadline_ms: int = Field(
        default=2000, ge=1, le=600_000, description="from trigger to verdict; later is late"
    )
    when_late: Literal["NOT_DECIDABLE", "NOT_OK"] = Field(
        default="NOT_DECIDABLE",
        description="the verdict of a part that could not be judged in time; never OK",
    )
    max_frame_age_ms: int = Field(
        default=1000, ge=1, le=600_000, description="a picture older than this at the trigger is not judged"
    )
    max_escape_rate: float | None = Field(
        default=None, gt=0, lt=1, description="largest share of bad parts that may pass; kept for calibration"
    )


class Recipe(Strict):
    """One inspection. `regions` are fractions of the frame, or of the part's box with `anchor: part`."""

    recipe: Name = Field(description="the recipe's name")
    version: int = Field(default=1, ge=1, description="raise it with every change that people should notice")
    description: str = Field(default="", max_length=2000, description="for people")
    camera: Name | None = Field(default=None, description="camera it is made for; null: the station's")
    trigger: TriggerOptions = Field(description="what makes a part an inspection")
    anchor: Literal["frame", "part"] = Field(
        default="frame",
        description="what regions are fractions of: the frame, or the part's own box (motion trigger)",
    )
    regions: dict[NoteName, BoxOption] = Field(
        default={}, description="named places to look at: x0, y0, x1, y1"
    )
    ask: tuple[Ask, ...] = Field(min_length=1, description="the questions")
    gates: GateOptions = Field(default=GateOptions(), description="what a picture must be like to be judged")
    limits: Limits = Limits()
    evidence: Evidence = Evidence()

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        problems: list[tuple[KeyPath, str]] = []
        ids = [ask.id for ask in self.ask]
        for index, ask in enumerate(self.ask):
            if ids.index(ask.id) < index:
                problems.append((("ask", index, "id"), f"'{ask.id}' is taken by ask[{ids.index(ask.id)}]"))
            for at, name in enumerate(ask.places):
                if name is not None and name not in self.regions:
                    key: KeyPath = ("regions", at) if ask.regions else ("region",)
                    hint = nearest(name, list(self.regions))
                    problems.append((("ask", index, *key), f"no region is called '{name}'; {hint}"))
        if self.anchor == "part" and self.trigger.kind != "motion":
            message = f"`part` needs the motion trigger, which finds the part; here it is {self.trigger.kind}"
            problems.append((("anchor",), message))
        if problems:
            raise located(problems)
        return self

    def places_of(self, ask: Ask) -> dict[str | None, Box]:
        """Where a question looks, in its order; None is the whole frame (or part)."""
        whole = (0.0, 0.0, 1.0, 1.0)
        return {name: whole if name is None else self.regions[name] for name in ask.places}
