"""Who changed what: a chain of rows, each with the hash of the one before. The newest MOST are kept.

It knows nothing of who may change what.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from lineside.daemon.store import schema
from lineside.daemon.store.canonical import canonical_json, parse_canonical
from lineside.daemon.store.database import reader_engine
from lineside.daemon.store.records import from_rfc3339, rfc3339

MOST = 100_000
FIRST_HASH = "0" * 64


@dataclass(frozen=True, slots=True)
class Change:
    """One call that changed something, or was refused. `identity` and `role`: who, `outcome`: a gRPC code."""

    time: datetime
    identity: str
    role: str
    method: str
    resource: str
    outcome: str


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change as stored."""

    sequence: int
    change: Change
    prev_hash: str
    row_hash: str


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """The first row of the changes that does not hold, and why."""

    sequence: int
    because: str


def append(connection: Connection, change: Change) -> int:
    """Adds a row, forgets the oldest beyond MOST; gives the row's number."""
    table = schema.changes
    last = connection.execute(select(table).order_by(table.c.sequence.desc()).limit(1)).first()
    if last is not None and _row(last.record, last.row_hash).change == change:
        return int(last.sequence)  # a second time, after a commit whose outcome the disk left unknown
    prev_hash = FIRST_HASH if last is None else str(last.row_hash)
    sequence = 1 if last is None else int(last.sequence) + 1
    record = _record(sequence, change, prev_hash)
    connection.execute(insert(table).values(sequence=sequence, record=record, row_hash=_hash(record)))
    connection.execute(delete(table).where(table.c.sequence <= sequence - MOST))
    return sequence


def page(connection: Connection, after: int, limit: int) -> list[ChangeRow]:
    """At most `limit` rows beyond `after`, oldest first."""
    table = schema.changes
    wanted = select(table).where(table.c.sequence > after).order_by(table.c.sequence).limit(limit)
    return [_row(row.record, row.row_hash) for row in connection.execute(wanted)]


def verify(connection: Connection) -> ChainBreak | None:
    """The first row that does not follow from the one before; None when all do."""
    table = schema.changes
    before: tuple[int, str] | None = None
    for row in connection.execute(select(table).order_by(table.c.sequence)):
        if _hash(row.record) != row.row_hash:
            return ChainBreak(row.sequence, "its hash is not that of its content")
        found = _row(row.record, row.row_hash)
        if found.sequence != row.sequence:
            return ChainBreak(row.sequence, "it says another number")
        if before is not None and (found.sequence, found.prev_hash) != (before[0] + 1, before[1]):
            return ChainBreak(row.sequence, "it does not follow the row before it")
        before = (found.sequence, found.row_hash)
    return None


def verify_database(file: Path) -> ChainBreak | None:
    """As `verify`, on a store's database file; the daemon may be running.

    Raises:
        sqlalchemy.exc.DatabaseError: the file cannot be read.
    """
    engine = reader_engine(file)
    try:
        with engine.begin() as connection:
            return verify(connection)
    finally:
        engine.dispose()


def _record(sequence: int, change: Change, prev_hash: str) -> str:
    return canonical_json(
        {
            "sequence": sequence,
            "time": rfc3339(change.time),
            "identity": change.identity,
            "role": change.role,
            "method": change.method,
            "resource": change.resource,
            "outcome": change.outcome,
            "prev_hash": prev_hash,
        }
    )


def _row(record: str, row_hash: str) -> ChangeRow:
    found = parse_canonical(record)
    change = Change(
        from_rfc3339(str(found["time"])),
        *(str(found[key]) for key in ("identity", "role", "method", "resource", "outcome")),
    )
    return ChangeRow(int(found["sequence"]), change, str(found["prev_hash"]), row_hash)


def _hash(record: str) -> str:
    return hashlib.sha256(record.encode()).hexdigest()
