"""The chain of rows: each verdict carries the hash of the one before it, so that edits show.

`verify_database` needs nothing but the file: `lineside audit verify` runs it beside a live daemon.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from lineside.daemon.store import schema
from lineside.daemon.store.canonical import canonical_json, parse_canonical
from lineside.daemon.store.database import reader_engine
from lineside.daemon.store.device_state import CHAIN_STARTS_AFTER, number
from lineside.daemon.store.records import GENESIS, Record, hash_of

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Verification:
    """What the check found. `first_broken` is the sequence of the first row that does not hold, `reason` why.

    `head_hash`: the row hash of the last row that holds; noting it elsewhere proves later that nothing
    was cut off the end.
    """

    ok: bool
    rows: int
    first_broken: int | None
    reason: str | None
    head_hash: str


def head(connection: Connection) -> tuple[int, str]:
    """The last sequence and its row hash; where the chain starts when there is no row yet."""
    newest = select(schema.results.c.sequence, schema.results.c.row_hash)
    row = connection.execute(newest.order_by(schema.results.c.sequence.desc()).limit(1)).first()
    return (starts_after(connection), GENESIS) if row is None else (int(row[0]), str(row[1]))


def starts_after(connection: Connection) -> int:
    """The sequence after which this database's chain starts: 0, but for one begun after a damaged one."""
    return number(connection, CHAIN_STARTS_AFTER)


def verify_database(file: Path) -> Verification:
    """Checks every row of a store's database file, from one snapshot; the daemon may be running.

    Raises:
        sqlalchemy.exc.DatabaseError: the file cannot be read.
    """
    engine = reader_engine(file)
    try:
        with engine.begin() as connection:
            return verify(connection)
    finally:
        engine.dispose()


def verify(connection: Connection) -> Verification:
    """Checks every row: order, links, hashes, and that the columns and tables beside say the same."""
    before, previous = starts_after(connection), GENESIS
    rows = 0
    for sequence, columns, text in _rows(connection):
        reason = _fault(connection, before + 1, previous, sequence, columns, text)
        if reason is not None:
            return Verification(False, rows, min(sequence, before + 1), reason, previous)
        before, previous = sequence, columns["row_hash"]
        rows += 1
    total = connection.execute(select(func.sum(schema.tallies.c.total))).scalar_one_or_none() or 0
    if total != rows:
        reason = f"{total} verdicts were counted when they were written, {rows} rows are here"
        return Verification(False, rows, before + 1, reason, previous)
    return Verification(True, rows, None, None, previous)


def _rows(connection: Connection) -> Iterator[tuple[int, dict[str, str], str]]:
    table = schema.results
    columns = (table.c.result_id, table.c.station, table.c.part_id, table.c.verdict, table.c.decided_at)
    query = select(table.c.sequence, table.c.record, table.c.row_hash, *columns)
    last = -1
    while page := connection.execute(
        query.where(table.c.sequence > last).order_by(table.c.sequence).limit(_PAGE)
    ).all():
        for row in page:
            fields = dict(row._mapping)
            yield fields.pop("sequence"), fields, fields.pop("record")
        last = page[-1].sequence


def _fault(
    connection: Connection, expected: int, previous: str, sequence: int, columns: dict[str, str], text: str
) -> str | None:
    """Why a row does not hold; None when it does."""
    if sequence != expected:
        return f"row {expected} is missing; the next one is {sequence}"
    try:
        record: Record = parse_canonical(text)
        if canonical_json(record) != text:
            return "the record is not in its canonical form"
        if record["prev_hash"] != previous:
            return "the record does not name the row before it: that one, or this one, was replaced"
        if hash_of(record) != record["row_hash"]:
            return "the record does not have the hash it was written with: it was edited"
        if record["sequence"] != sequence:
            return f"the record says it is sequence {record['sequence']}"
    except (ValueError, KeyError, TypeError) as error:
        return f"the record cannot be read: {error!r}"
    for name, value in columns.items():
        if record[name] != value:
            return f"the column {name} says {value!r}, the record {record[name]!r}"
    return _fault_beside(connection, sequence, record)


def _fault_beside(connection: Connection, sequence: int, record: Record) -> str | None:
    found = schema.findings
    query = select(found.c.ask, found.c.label, found.c.is_defect, found.c.confidence, found.c.text)
    rows = connection.execute(query.where(found.c.sequence == sequence).order_by(found.c.position)).all()
    wanted = [(f["ask"], f["label"], f["is_defect"], f["confidence"], f["text"]) for f in record["findings"]]
    if [tuple(row) for row in rows] != wanted:
        return "the findings beside the record were edited"
    named = schema.evidence
    ids = select(named.c.evidence_id).where(named.c.sequence == sequence).order_by(named.c.position)
    if list(connection.execute(ids).scalars()) != [ref["evidence_id"] for ref in record["evidence"]]:
        return "the evidence named beside the record was edited"
    return None
