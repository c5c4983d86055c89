"""The audit: who changed what, in order, each row sealed with the hash of the one before.

A row is written in the transaction of the change it tells of: neither is kept without the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from lineside.dashboard.database.people_tables import Audit, AuditHead

START = "0" * 64


@dataclass(frozen=True, slots=True)
class Check:
    """What a check of the chain found. `broken_at`: the first row that does not hold; None: all do."""

    rows: int
    broken_at: int | None


def note(
    session: Session,
    at: datetime,
    who: str,
    action: str,
    subject: str,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Adds a row to the chain. `detail` is JSON and holds no secret."""
    head = session.scalars(select(AuditHead).where(AuditHead.one == 1).with_for_update()).one()
    row = Audit(
        id=head.last_id + 1,
        at=at.astimezone(UTC),
        who=who[:100],
        action=action,
        subject=subject[:300],
        detail=dict(detail or {}),
        prev_hash=head.row_hash,
    )
    row.row_hash = _seal(row)
    session.add(row)
    session.execute(update(AuditHead).where(AuditHead.one == 1).values(last_id=row.id, row_hash=row.row_hash))
    session.expire(head)


def verify(session: Session) -> Check:
    """Computes the chain anew: no row changed, none missing, none added, the end where it should be."""
    before, number = START, 0
    with closing(session.scalars(select(Audit).order_by(Audit.id).execution_options(yield_per=1000))) as rows:
        for row in rows:
            number += 1
            if row.id != number or row.prev_hash != before or row.row_hash != _seal(row):
                return Check(number, row.id)
            before = row.row_hash
    head = session.scalars(select(AuditHead).where(AuditHead.one == 1)).one()
    whole = (head.last_id, head.row_hash) == (number, before)
    return Check(number, None if whole else number + 1)


def _seal(row: Audit) -> str:
    told = [
        row.id,
        row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        row.who,
        row.action,
        row.subject,
        row.detail,
        row.prev_hash,
    ]
    words = json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(words.encode()).hexdigest()
