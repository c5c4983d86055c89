"""What the writer does inside a transaction: values become rows.

Every function may be run again after a failure: a commit whose outcome the disk left unknown is
repeated, so each statement finds what is there already. It knows nothing of threads, files or retries.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from lineside.daemon.store import retention, schema
from lineside.daemon.store.canonical import canonical_json
from lineside.daemon.store.chain import head
from lineside.daemon.store.device_state import add_number
from lineside.daemon.store.evidence import Kept
from lineside.daemon.store.jobs import count
from lineside.daemon.store.records import intake_record, parse_json, rfc3339, seal
from lineside.daemon.store.requests import RequestKey, remember
from lineside.daemon.store.sequences import SequenceReserve
from lineside.daemon.values import EvidenceRef, Intake, Result, ResultDraft


def accept(connection: Connection, intake: Intake, request: RequestKey | None) -> None:
    """Opens the intake, and notes the request that led to it. Nothing happens when it is open or judged."""
    if request is not None:
        remember(connection, request, intake.result_id)
    judged = select(schema.results.c.sequence).where(schema.results.c.result_id == intake.result_id)
    if connection.execute(judged).first() is not None:
        return
    row = {"result_id": intake.result_id, "record": canonical_json(intake_record(intake))}
    connection.execute(upsert(schema.intakes).values(row).on_conflict_do_nothing())


def commit(
    connection: Connection,
    draft: ResultDraft,
    kept: Kept,
    *,
    device: str,
    reserve: SequenceReserve,
    keep_until_s: int | None,
) -> Result:
    """Writes the verdict, closes the intake, names the evidence; a result that is there is given back.

    `keep_until_s`: see `schema.evidence_files`.
    """
    intake = draft.intake
    found = select(schema.results.c.record).where(schema.results.c.result_id == intake.result_id)
    stored = connection.execute(found).scalar_one_or_none()
    if stored is not None:
        return parse_json(stored)
    sequence, prev_hash = head(connection)
    reserve.cover(sequence + 1)
    result, record = seal(
        draft,
        sequence=sequence + 1,
        device=device,
        evidence=kept.refs,
        evidence_lost=kept.failure is not None,
        prev_hash=prev_hash,
    )
    connection.execute(
        insert(schema.results).values(
            sequence=result.sequence,
            result_id=intake.result_id,
            station=intake.station,
            part_id=intake.part_id,
            verdict=str(draft.verdict),
            decided_at=rfc3339(draft.decided_at),
            record=record,
            row_hash=result.row_hash,
        )
    )
    _add_findings(connection, result)
    _name_evidence(connection, result, kept.refs, keep_until_s)
    connection.execute(delete(schema.intakes).where(schema.intakes.c.result_id == intake.result_id))
    tally = upsert(schema.tallies).values(station=intake.station, verdict=str(draft.verdict), total=1)
    connection.execute(
        tally.on_conflict_do_update(
            index_elements=["station", "verdict"], set_={"total": schema.tallies.c.total + 1}
        )
    )
    count(connection, intake.expected, draft.verdict)
    return result


def _add_findings(connection: Connection, result: Result) -> None:
    rows = [
        {
            "sequence": result.sequence,
            "position": position,
            "ask": finding.ask,
            "label": finding.label,
            "is_defect": finding.is_defect,
            "confidence": finding.confidence,
            "text": finding.text,
        }
        for position, finding in enumerate(result.draft.findings)
    ]
    if rows:
        connection.execute(insert(schema.findings), rows)


def _name_evidence(
    connection: Connection, result: Result, refs: Sequence[EvidenceRef], keep_until_s: int | None
) -> None:
    files = schema.evidence_files
    rank = retention.RANKS[result.verdict]
    for position, ref in enumerate(refs):
        known: Row[str] | None = connection.execute(
            select(files.c.state).where(files.c.evidence_id == ref.evidence_id)
        ).first()
        if known is None:
            connection.execute(
                insert(files).values(
                    evidence_id=ref.evidence_id,
                    size_bytes=ref.size_bytes,
                    rank=rank,
                    last_sequence=result.sequence,
                    state=retention.KEPT,
                    keep_until_s=keep_until_s,
                )
            )
        else:
            # SQLite's max of several values is null when one of them is: no end is the latest end.
            connection.execute(
                update(files)
                .where(files.c.evidence_id == ref.evidence_id)
                .values(
                    rank=func.max(files.c.rank, rank),
                    size_bytes=ref.size_bytes,
                    last_sequence=result.sequence,
                    state=retention.KEPT,
                    keep_until_s=func.max(files.c.keep_until_s, keep_until_s),
                )
            )
        if known is None or known[0] != retention.KEPT:
            add_number(connection, retention.BYTES, ref.size_bytes)
        connection.execute(
            insert(schema.evidence).values(
                sequence=result.sequence, position=position, evidence_id=ref.evidence_id
            )
        )
