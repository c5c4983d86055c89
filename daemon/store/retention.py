"""Which pictures go: those whose time of keeping is over, and when the quota is reached, others with them.

For room, what is over goes first; then the oldest of OK parts, then of undecided ones, then of bad ones.
Verdict rows never go. What goes is counted, apart by why it went. Functions run in the writer's
transaction; removing the files afterwards is the writer's.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from sqlalchemy import Connection, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from lineside.daemon.store import schema
from lineside.daemon.store.device_state import add_number, number, set_state
from lineside.daemon.values import Verdict

RANKS = {Verdict.OK: 0, Verdict.NOT_DECIDABLE: 1, Verdict.NOT_OK: 2}
"""What a picture is worth: a file that several results name has the highest of theirs."""

KEPT = "KEPT"
EVICTED = "EVICTED"
EXPIRED = "EXPIRED"
MISSING = "MISSING"

BYTES = "evidence.bytes"
"""Bytes of the files in state KEPT."""

CHUNK = 256
"""Files evicted in one transaction, at most."""

_COUNTERS = {
    (state, rank): f"evidence.{state.lower()}.{verdict.value}"
    for state in (EVICTED, EXPIRED)
    for verdict, rank in RANKS.items()
}


@dataclass(frozen=True, slots=True)
class Victim:
    """A picture to remove. `why`: EXPIRED when its time was over, else EVICTED."""

    evidence_id: str
    size_bytes: int
    rank: int
    why: str


def expired(
    connection: Connection, now_s: int, limit: int, passed_over: Set[str] = frozenset()
) -> list[Victim]:
    """The pictures whose time of keeping was over at `now_s` (see witnessed), the longest over first."""
    files = schema.evidence_files
    query = (
        select(files.c.evidence_id, files.c.size_bytes, files.c.rank)
        .where(files.c.state == KEPT, files.c.keep_until_s <= now_s)
        .order_by(files.c.keep_until_s)
        .limit(limit + len(passed_over))
    )
    rows = [row for row in connection.execute(query) if row.evidence_id not in passed_over]
    return [Victim(row.evidence_id, row.size_bytes, row.rank, EXPIRED) for row in rows[:limit]]


def victims(
    connection: Connection, free_bytes: int, now_s: int, passed_over: Set[str] = frozenset()
) -> list[Victim]:
    """The pictures to remove so that `free_bytes` become free, the least worth first; at most `CHUNK`."""
    files = schema.evidence_files
    query = (
        select(files.c.evidence_id, files.c.size_bytes, files.c.rank)
        .where(files.c.state == KEPT, or_(files.c.keep_until_s.is_(None), files.c.keep_until_s > now_s))
        .order_by(files.c.rank, files.c.last_sequence)
        .limit(CHUNK + len(passed_over))
    )
    chosen: list[Victim] = []
    freed = 0
    for victim in expired(connection, now_s, CHUNK, passed_over):
        if freed >= free_bytes:
            return chosen
        chosen.append(victim)
        freed += victim.size_bytes
    for row in connection.execute(query):
        if freed >= free_bytes or len(chosen) == CHUNK:
            break
        if row.evidence_id not in passed_over:
            chosen.append(Victim(row.evidence_id, row.size_bytes, row.rank, EVICTED))
            freed += row.size_bytes
    return chosen


def mark_gone(connection: Connection, chosen: Sequence[Victim]) -> None:
    """Notes that these pictures go, and counts them by the verdict they were kept for."""
    for victim in chosen:
        if _leave(connection, victim.evidence_id, victim.why):
            add_number(connection, _COUNTERS[victim.why, victim.rank], 1)
            add_number(connection, BYTES, -victim.size_bytes)


def gone(connection: Connection, why: str) -> dict[Verdict, int]:
    """How many pictures went for this reason (EVICTED, EXPIRED), by the verdict they were kept for."""
    return {verdict: number(connection, _COUNTERS[why, rank]) for verdict, rank in RANKS.items()}


def kept_bytes(connection: Connection) -> int:
    """Bytes of the pictures that are kept."""
    return number(connection, BYTES)


def reconcile(
    connection: Connection, prefix: str, found: dict[str, int], *, adopt: bool
) -> tuple[list[str], int]:
    """Compares one folder of files with the rows.

    Rows without a file become MISSING. Files without a row are given back for removal, or, when
    `adopt` is set (the database is new, the files may be of a damaged one), become rows of the least
    worth, so that the quota sees them.

    Returns:
        (files to remove, how many rows lost their file).
    """
    files = schema.evidence_files
    # The range is over the primary key: ids of this folder only.
    inside = (files.c.evidence_id >= prefix) & (files.c.evidence_id < prefix + "g")
    known = set(
        connection.execute(select(files.c.evidence_id).where(inside, files.c.state == KEPT)).scalars()
    )
    missing = known - found.keys()
    for evidence_id in missing:
        _leave(connection, evidence_id, MISSING)
    strangers = sorted(found.keys() - known)
    if adopt:
        for evidence_id in strangers:
            row = {"rank": 0, "last_sequence": 0, "state": KEPT, "size_bytes": found[evidence_id]}
            connection.execute(
                upsert(files)
                .values(evidence_id=evidence_id, **row)
                .on_conflict_do_update(index_elements=["evidence_id"], set_=row)
            )
        strangers = []
    return strangers, len(missing)


def recount(connection: Connection, total_bytes: int) -> None:
    """Sets the number of bytes kept to what lies on the disk."""
    set_state(connection, BYTES, str(total_bytes))


def _leave(connection: Connection, evidence_id: str, state: str) -> bool:
    files = schema.evidence_files
    done = connection.execute(
        update(files).where(files.c.evidence_id == evidence_id, files.c.state == KEPT).values(state=state)
    )
    return done.rowcount == 1
