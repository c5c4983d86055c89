"""Labelled history of a recipe, out of the database: what people settled, beside the answers as stored."""

from __future__ import annotations

import zlib
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from lineside.dashboard.database.result_tables import RecipeVersion, Result, ResultRecord, Review
from lineside.dashboard.devices.recipes import RecipeCard
from lineside.dashboard.studio.replay import BY_CONFIDENCE, Answer, Labelled
from lineside.v1 import results_pb2

MOST_PARTS = 2000
"""The newest labelled parts that are replayed."""
REASON = "REASON_CODE_"


def labelled(session: Session, recipe: str, devices: Collection[int], card: RecipeCard) -> list[Labelled]:
    """Settled parts of any version of a recipe on these devices, newest first."""
    settled = session.execute(
        select(Result.id, Result.verdict, ResultRecord.inspection)
        .join(RecipeVersion, RecipeVersion.id == Result.recipe_id)
        .join(ResultRecord, ResultRecord.result == Result.id)
        .where(RecipeVersion.name == recipe, Result.review == "done", Result.device_id.in_(devices))
        .order_by(Result.id.desc())
        .limit(MOST_PARTS)
    ).all()
    truths = _truths(session, [row for row, _, _ in settled])
    return [
        _part(verdict, truths[row], results_pb2.Inspection.FromString(zlib.decompress(record)), card)
        for row, verdict, record in settled
        if row in truths
    ]


def _truths(session: Session, rows: list[int]) -> dict[int, str]:
    """The last decision that stands on each."""
    found: dict[int, str] = {}
    for start in range(0, len(rows), 500):
        decided = (
            select(Review.result, Review.decision)
            .where(Review.result.in_(rows[start : start + 500]), Review.undone_at.is_(None))
            .order_by(Review.id)
        )
        for result, decision in session.execute(decided):
            found[result] = decision
    return found


def _part(verdict: str, truth: str, inspection: results_pb2.Inspection, card: RecipeCard) -> Labelled:
    reasons = {results_pb2.ReasonCode.Name(one.code).removeprefix(REASON) for one in inspection.reasons}
    answers = tuple(
        Answer(outcome.ask, outcome.confidence, outcome.text_value in card.failing.get(outcome.ask, ()))
        for outcome in inspection.outcomes
        if outcome.kind == "choice"
    )
    # A text or a count fails by rules that are not known here: its part keeps its verdict.
    other = any(outcome.kind != "choice" for outcome in inspection.outcomes) and verdict != "OK"
    return Labelled(verdict, truth, answers, fixed=bool(reasons - BY_CONFIDENCE) or other)
