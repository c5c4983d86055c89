"""Golden parts: pictures that a person vouches for, kept here because a device deletes its own in time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lineside.dashboard.database.quality_tables import GoldenPicture
from lineside.dashboard.database.result_tables import Result
from lineside.dashboard.database.steering_tables import GoldenPart, GoldenSet
from lineside.dashboard.devices.values import Evidence, Picture
from lineside.dashboard.people import audit

NAME = "reviewed"
"""The set that reviews fill, one for each recipe."""
MOST_PARTS = 500
LARGEST_PICTURE = 4 * 1024 * 1024


class RefusedGolden(ValueError):
    """A part that cannot be kept; `key` names the words that say why."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture beside the part in question. `golden`: vouched for; else only the last OK part."""

    evidence: Evidence
    golden: bool
    device: str = ""


def keep(
    session: Session,
    result: Result,
    recipe: str,
    evidence: Evidence,
    picture: Picture,
    verdict: str,
    label: str | None,
    *,
    by: str,
    at: datetime,
) -> None:
    """Adds a part's picture to its recipe's set. Again for the same part: nothing new.

    Raises:
        RefusedGolden: the set is full, or the picture too large.
    """
    if len(picture.data) > LARGEST_PICTURE:
        raise RefusedGolden("golden_too_large")
    found = session.scalars(
        select(GoldenSet).where(GoldenSet.recipe == recipe, GoldenSet.name == NAME)
    ).one_or_none()
    if found is None:
        found = GoldenSet(name=NAME, recipe=recipe, created_at=at)
        session.add(found)
        session.flush()
    within = select(GoldenPart).where(GoldenPart.golden_set == found.id)
    if session.scalars(within.where(GoldenPart.evidence_id == evidence.evidence_id)).first() is not None:
        return
    held = session.scalar(select(func.count()).select_from(within.subquery())) or 0
    if held >= MOST_PARTS:
        raise RefusedGolden("golden_full")
    if session.get(GoldenPicture, evidence.evidence_id) is None:
        session.add(
            GoldenPicture(
                evidence_id=evidence.evidence_id,
                media_type=picture.media_type,
                width=evidence.width,
                height=evidence.height,
                data=picture.data,
            )
        )
    session.add(
        GoldenPart(
            golden_set=found.id,
            result=result.id,
            evidence_id=evidence.evidence_id,
            verdict=verdict,
            label=label,
        )
    )
    told = {"recipe": recipe, "verdict": verdict, "label": label}
    audit.note(session, at, by, "golden.add", result.result_id, told)


def newest(session: Session, recipe: str) -> Shown | None:
    """The newest good golden part of a recipe whose picture is kept here."""
    found = session.execute(
        select(GoldenPicture.evidence_id, GoldenPicture.media_type, GoldenPicture.width, GoldenPicture.height)
        .join(GoldenPart, GoldenPart.evidence_id == GoldenPicture.evidence_id)
        .join(GoldenSet, GoldenSet.id == GoldenPart.golden_set)
        .where(GoldenSet.recipe == recipe, GoldenSet.retired_at.is_(None), GoldenPart.verdict == "OK")
        .order_by(GoldenPart.id.desc())
        .limit(1)
    ).first()
    if found is None:
        return None
    evidence_id, media_type, width, height = found
    return Shown(Evidence(evidence_id, "frame", "", media_type, width, height, 0), golden=True)
