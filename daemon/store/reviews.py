"""What people decided about verdicts, as rows that never change. It knows nothing of who may decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from lineside.daemon.store import schema
from lineside.daemon.store.canonical import canonical_json, parse_canonical
from lineside.daemon.store.records import from_rfc3339, rfc3339
from lineside.daemon.values import Verdict


@dataclass(frozen=True, slots=True)
class Review:
    """A decision on one result. `evaluation`: what the part is; `verdict`: what was decided on.

    `answers`: question of the recipe to what is right. `submitted_by`: who called, by certificate.
    """

    result_id: str
    evaluation: Verdict
    verdict: Verdict
    answers: Mapping[str, str]
    comment: str
    reviewer: str
    submitted_by: str
    created_at: datetime
    number: int = 0


def add(connection: Connection, review: Review) -> Review:
    """Stores a review and gives it its number."""
    record = {
        "evaluation": str(review.evaluation),
        "verdict": str(review.verdict),
        "answers": dict(review.answers),
        "comment": review.comment,
        "reviewer": review.reviewer,
        "submitted_by": review.submitted_by,
        "created_at": rfc3339(review.created_at),
    }
    row = {"result_id": review.result_id, "record": canonical_json(record)}
    done = connection.execute(insert(schema.reviews).values(row))
    stored = get(connection, int(done.inserted_primary_key[0])) if done.inserted_primary_key else None
    assert stored is not None
    return stored


def get(connection: Connection, number: int) -> Review | None:
    """The review of that number."""
    row = connection.execute(select(schema.reviews).where(schema.reviews.c.review == number)).first()
    return None if row is None else _review(row)


def page(connection: Connection, *, after: int, limit: int, result_id: str | None) -> list[Review]:
    """At most `limit` reviews beyond `after`, oldest first."""
    table = schema.reviews
    wanted = select(table).where(table.c.review > after).order_by(table.c.review).limit(limit)
    if result_id is not None:
        wanted = wanted.where(table.c.result_id == result_id)
    return [_review(row) for row in connection.execute(wanted)]


def _review(row: Row[Any]) -> Review:
    record = parse_canonical(row.record)
    return Review(
        result_id=row.result_id,
        evaluation=Verdict(record["evaluation"]),
        verdict=Verdict(record["verdict"]),
        answers=record["answers"],
        comment=record["comment"],
        reviewer=record["reviewer"],
        submitted_by=record["submitted_by"],
        created_at=from_rfc3339(record["created_at"]),
        number=row.review,
    )
