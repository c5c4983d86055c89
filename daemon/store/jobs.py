"""Job orders as rows. What a move means is decided in `daemon.jobs`; here it is kept, and counted.

Every function runs inside a transaction of the writer (or of a reader), and may be run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from lineside.daemon.jobs import HOLDS_STATION, JOB_KEY, Job, JobRefused, JobState
from lineside.daemon.store import schema
from lineside.daemon.store.canonical import canonical_json, parse_canonical
from lineside.daemon.store.records import from_rfc3339, rfc3339
from lineside.daemon.values import Verdict

MOST = 10_000
"""Jobs that may be stored; whoever stores more deletes old ones first."""


def get(connection: Connection, job: str) -> Job | None:
    """The job of that id with its counts."""
    row = connection.execute(select(schema.jobs).where(schema.jobs.c.job == job)).first()
    return None if row is None else _job(row, _counts(connection, [job]))


def page(
    connection: Connection, *, before: int | None, limit: int, state: JobState | None, station: str | None
) -> list[Job]:
    """At most `limit` jobs stored before `before`, newest first."""
    table = schema.jobs
    wanted = select(table).order_by(table.c.ordinal.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(table.c.ordinal < before)
    if state is not None:
        wanted = wanted.where(table.c.state == str(state))
    if station is not None:
        wanted = wanted.where(table.c.station == station)
    rows = connection.execute(wanted).all()
    counts = _counts(connection, [row.job for row in rows])
    return [_job(row, counts) for row in rows]


def holding(connection: Connection) -> dict[str, Job]:
    """Station → the job that runs or is interrupted there."""
    table = schema.jobs
    rows = connection.execute(select(table).where(table.c.state.in_([str(state) for state in HOLDS_STATION])))
    return {row.station: _job(row, {}) for row in rows}


def create(connection: Connection, job: Job) -> Job | JobRefused:
    """Stores a new job."""
    if get(connection, job.job) is not None:
        return JobRefused("JOB_EXISTS", f"a job '{job.job}' is stored already")
    table = schema.jobs
    if len(connection.execute(select(table.c.ordinal).limit(MOST)).all()) >= MOST:
        return JobRefused("TOO_MANY_JOBS", f"{MOST} jobs are stored: delete old ones first")
    if (busy := _busy(connection, job)) is not None:
        return busy
    connection.execute(insert(table).values(**_columns(job)))
    stored = get(connection, job.job)
    assert stored is not None
    return stored


def save(connection: Connection, job: Job, *, over: int) -> Job | JobRefused:
    """Writes a changed job over the one whose `changed` is `over`."""
    table = schema.jobs
    if (busy := _busy(connection, job)) is not None:
        return busy
    row = connection.execute(
        update(table).where(table.c.job == job.job, table.c.changed == over).values(**_columns(job))
    )
    stored = get(connection, job.job)
    if row.rowcount == 1 and stored is not None:
        return stored
    # The same change a second time, after a commit whose outcome the disk left unknown.
    if stored is not None and _columns(stored) == _columns(job):
        return stored
    return JobRefused("ETAG_MISMATCH", f"job '{job.job}' was changed meanwhile: read it again")


def remove(connection: Connection, job: str) -> None:
    """Removes a job and its counts."""
    connection.execute(delete(schema.jobs).where(schema.jobs.c.job == job))
    connection.execute(delete(schema.job_tallies).where(schema.job_tallies.c.job == job))


def count(connection: Connection, expected: Mapping[str, str], verdict: Verdict) -> None:
    """Counts a verdict under the job that the part's expected values name, if it is stored."""
    job = expected.get(JOB_KEY)
    if job is None:
        return
    if connection.execute(select(schema.jobs.c.ordinal).where(schema.jobs.c.job == job)).first() is None:
        return
    tally = upsert(schema.job_tallies).values(job=job, verdict=str(verdict), total=1)
    total = schema.job_tallies.c.total + 1
    connection.execute(tally.on_conflict_do_update(index_elements=["job", "verdict"], set_={"total": total}))


def _busy(connection: Connection, job: Job) -> JobRefused | None:
    if job.state not in HOLDS_STATION:
        return None
    other = holding(connection).get(job.station)
    if other is None or other.job == job.job:
        return None
    return JobRefused("STATION_BUSY", f"station '{job.station}' works on job '{other.job}': stop it first")


def _columns(job: Job) -> dict[str, Any]:
    record = {
        "recipe": job.recipe,
        "material": job.material,
        "lot": job.lot,
        "quantity": job.quantity,
        "expected": dict(job.expected),
        "description": job.description,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at) if job.started_at is not None else None,
        "ended_at": rfc3339(job.ended_at) if job.ended_at is not None else None,
    }
    return {
        "job": job.job,
        "station": job.station,
        "state": str(job.state),
        "changed": job.changed,
        "record": canonical_json(record),
    }


def _job(row: Row[Any], counts: Mapping[str, Mapping[Verdict, int]]) -> Job:
    record = parse_canonical(row.record)
    return Job(
        job=row.job,
        station=row.station,
        state=JobState(row.state),
        recipe=record["recipe"],
        material=record["material"],
        lot=record["lot"],
        quantity=record["quantity"],
        expected=record["expected"],
        description=record["description"],
        created_at=from_rfc3339(record["created_at"]),
        started_at=from_rfc3339(record["started_at"]) if record["started_at"] else None,
        ended_at=from_rfc3339(record["ended_at"]) if record["ended_at"] else None,
        changed=row.changed,
        ordinal=row.ordinal,
        counts=counts.get(row.job, {}),
    )


def _counts(connection: Connection, jobs: list[str]) -> dict[str, dict[Verdict, int]]:
    table = schema.job_tallies
    found: dict[str, dict[Verdict, int]] = {}
    for row in connection.execute(select(table).where(table.c.job.in_(jobs))):
        found.setdefault(row.job, {})[Verdict(row.verdict)] = row.total
    return found
