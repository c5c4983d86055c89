"""What readers ask of the tables. Each function sees one snapshot and knows nothing of the writer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, exists, func, or_, select

from lineside.daemon.store import retention, schema
from lineside.daemon.store.canonical import parse_canonical
from lineside.daemon.store.records import parse_intake, parse_json, rfc3339
from lineside.daemon.values import Intake, Result, Verdict


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Which results are wanted; every field that is set must hold.

    `since` and `until` (exclusive) are about `decided_at`. `text` is looked for in the part id, the
    beginning of the result id, and the findings' labels and texts, upper or lower case.
    """

    station: str | None = None
    part_id: str | None = None
    verdict: Verdict | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals since the database began. `verdicts`: station → verdict → how many.

    Pictures that went, by the verdict they were kept for: `evidence_evicted` to make room while they
    were still to be kept, `evidence_expired` when their time of keeping was over.
    """

    results: int
    open_intakes: int
    verdicts: Mapping[str, Mapping[Verdict, int]]
    evidence_bytes: int
    evidence_evicted: Mapping[Verdict, int]
    evidence_expired: Mapping[Verdict, int]

    def total(self, verdict: Verdict) -> int:
        """How many results of all stations have this verdict."""
        return sum(by_verdict.get(verdict, 0) for by_verdict in self.verdicts.values())


def get(connection: Connection, result_id: str) -> Result | None:
    """The result of this id."""
    wanted = select(schema.results.c.record).where(schema.results.c.result_id == result_id)
    record = connection.execute(wanted).scalar_one_or_none()
    return None if record is None else parse_json(record)


def find(
    connection: Connection, wanted: ResultFilter, page_size: int, before_sequence: int | None
) -> list[Result]:
    """The newest results that fit, newest first, older than `before_sequence`, at most `page_size`."""
    results = schema.results.c
    query = _filtered(wanted).order_by(results.sequence.desc()).limit(page_size)
    if before_sequence is not None:
        query = query.where(results.sequence < before_sequence)
    return [parse_json(record) for record in connection.execute(query).scalars()]


def since(connection: Connection, sequence: int, limit: int) -> list[Result]:
    """The results after `sequence`, oldest first, at most `limit`."""
    results = schema.results.c
    query = select(results.record).where(results.sequence > sequence).order_by(results.sequence).limit(limit)
    return [parse_json(record) for record in connection.execute(query).scalars()]


def open_intakes(connection: Connection, up_to_ordinal: int) -> list[Intake]:
    """The accepted triggers without a verdict, in the order they were accepted."""
    intakes = schema.intakes.c
    query = select(intakes.record).where(intakes.ordinal <= up_to_ordinal).order_by(intakes.ordinal)
    return [parse_intake(parse_canonical(record)) for record in connection.execute(query).scalars()]


def last_ordinal(connection: Connection) -> int:
    """The ordinal of the newest open intake; 0 when none is open."""
    return connection.execute(select(func.max(schema.intakes.c.ordinal))).scalar_one_or_none() or 0


def evidence_state(connection: Connection, evidence_id: str) -> str | None:
    """KEPT, EVICTED, EXPIRED or MISSING; None when no result ever named it."""
    files = schema.evidence_files.c
    return connection.execute(
        select(files.state).where(files.evidence_id == evidence_id)
    ).scalar_one_or_none()


def counts(connection: Connection) -> Counts:
    """Totals, from the tallies kept with the rows."""
    verdicts: dict[str, dict[Verdict, int]] = {}
    for row in connection.execute(select(schema.tallies)):
        verdicts.setdefault(row.station, {})[Verdict(row.verdict)] = row.total
    return Counts(
        results=sum(sum(by_verdict.values()) for by_verdict in verdicts.values()),
        open_intakes=connection.execute(select(func.count()).select_from(schema.intakes)).scalar_one(),
        verdicts=verdicts,
        evidence_bytes=retention.kept_bytes(connection),
        evidence_evicted=retention.gone(connection, retention.EVICTED),
        evidence_expired=retention.gone(connection, retention.EXPIRED),
    )


def _filtered(wanted: ResultFilter) -> Select[str]:
    results = schema.results.c
    query = select(results.record)
    if wanted.station is not None:
        query = query.where(results.station == wanted.station)
    if wanted.part_id is not None:
        query = query.where(results.part_id == wanted.part_id)
    if wanted.verdict is not None:
        query = query.where(results.verdict == str(wanted.verdict))
    if wanted.since is not None:
        query = query.where(results.decided_at >= rfc3339(wanted.since))
    if wanted.until is not None:
        query = query.where(results.decided_at < rfc3339(wanted.until))
    if wanted.text:
        query = query.where(_mentions(wanted.text))
    return query


def _mentions(text: str) -> ColumnElement[bool]:
    results, findings = schema.results.c, schema.findings.c
    found = exists().where(
        findings.sequence == results.sequence,
        or_(findings.label.icontains(text, autoescape=True), findings.text.icontains(text, autoescape=True)),
    )
    return or_(
        results.part_id.icontains(text, autoescape=True),
        results.result_id.istartswith(text, autoescape=True),
        found,
    )
