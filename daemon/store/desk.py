"""What callers leave at the device beside results: jobs, reviews, changes, and requests already done.

Sits on the store's writer: each method that writes returns once it is durable. A write that cannot be done is
told to its caller, and is no alarm. It knows nothing of who calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from lineside.daemon.clock import Clock
from lineside.daemon.jobs import HOLDS_STATION, OVER, Job, JobMove, JobRefused, JobState
from lineside.daemon.store import changes, jobs, requests, reviews
from lineside.daemon.store.changes import Change, ChangeRow
from lineside.daemon.store.errors import StoreError
from lineside.daemon.store.requests import RequestKey, RequestReused
from lineside.daemon.store.reviews import Review
from lineside.daemon.store.store import Store

PATIENCE_S = 15.0
T = TypeVar("T")
log = structlog.get_logger(__name__)


class Desk:
    """Thread-safe. Writes raise StoreBusy, StoreClosed or TimeoutError when the disk does not take them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    # Changes

    def note(self, change: Change) -> None:
        """Adds to the changes, and does not wait: a slow disk must not hold up what was done already."""
        try:
            self._store.write(lambda connection: changes.append(connection, change))
        except StoreError as error:
            log.error("change_not_noted", method=change.method, identity=change.identity, because=str(error))

    def changes(self, after: int, limit: int) -> list[ChangeRow]:
        """At most `limit` changes beyond `after`, oldest first."""
        return self._store.read(lambda connection: changes.page(connection, after, limit))

    # Requests

    def outcome(self, key: RequestKey) -> str | None:
        """What a request led to before. Raises RequestReused."""
        return self._store.read(lambda connection: requests.outcome(connection, key))

    def remember(self, key: RequestKey, outcome: str) -> None:
        """Notes what a request led to."""
        self._write(lambda connection: requests.remember(connection, key, outcome))

    # Reviews

    def review(self, review: Review, key: RequestKey | None) -> Review:
        """Stores a review, once for each request. Raises RequestReused."""

        once = self._once(key)

        def apply(connection: Connection) -> Review | Exception:
            known = _known(connection, once)
            if isinstance(known, str):
                return reviews.get(connection, int(known)) or RequestReused("the review is gone")
            if known is not None:
                return known
            stored = reviews.add(connection, review)
            requests.remember(connection, once, str(stored.number))
            return stored

        return self._write(apply)

    def get_review(self, number: int) -> Review | None:
        """The review of that number."""
        return self._store.read(lambda connection: reviews.get(connection, number))

    def reviews(self, after: int, limit: int, result_id: str | None) -> list[Review]:
        """At most `limit` reviews beyond `after`, oldest first."""
        return self._store.read(
            lambda connection: reviews.page(connection, after=after, limit=limit, result_id=result_id)
        )

    # Jobs

    def create_job(self, job: Job, key: RequestKey | None) -> Job:
        """Stores a job, once for each request. Raises JobRefused, RequestReused."""
        return self._job_write(lambda connection: jobs.create(connection, job), key)

    def move_job(self, name: str, move: JobMove, etag: str, key: RequestKey | None) -> Job:
        """Moves a job on. Raises JobRefused, RequestReused."""
        now = self._clock.now()
        return self._change_job(name, lambda job: job.moved(move, now), etag, key)

    def update_job(self, name: str, edit: Callable[[Job], Job], etag: str, key: RequestKey | None) -> Job:
        """Changes what a job holds. Raises JobRefused, RequestReused."""

        def change(job: Job) -> Job:
            if job.state in OVER:
                raise JobRefused("JOB_STATE", f"job '{job.job}' is {job.state}: it changes no more")
            return replace(edit(job), changed=job.changed + 1)

        return self._change_job(name, change, etag, key)

    def delete_job(self, name: str, etag: str) -> None:
        """Removes a job that holds no station. Raises JobRefused."""

        def apply(connection: Connection) -> Exception | None:
            found = _expected_job(connection, name, etag)
            if isinstance(found, Exception):
                return found
            if found.state in HOLDS_STATION:
                return JobRefused("JOB_STATE", f"job '{name}' is {found.state}: stop it first")
            jobs.remove(connection, name)
            return None

        self._write(apply)

    def get_job(self, name: str) -> Job | None:
        """The job with its counts."""
        return self._store.read(lambda connection: jobs.get(connection, name))

    def jobs(self, before: int | None, limit: int, state: JobState | None, station: str | None) -> list[Job]:
        """At most `limit` jobs stored before `before`, newest first."""
        return self._store.read(
            lambda connection: jobs.page(connection, before=before, limit=limit, state=state, station=station)
        )

    def holding(self) -> dict[str, Job]:
        """Station → the job that runs or is interrupted there."""
        return self._store.read(jobs.holding)

    def _change_job(self, name: str, change: Callable[[Job], Job], etag: str, key: RequestKey | None) -> Job:
        def apply(connection: Connection) -> Job | JobRefused:
            found = _expected_job(connection, name, etag)
            if isinstance(found, JobRefused):
                return found
            try:
                return jobs.save(connection, change(found), over=found.changed)
            except JobRefused as refused:
                return refused

        return self._job_write(apply, key)

    def _job_write(self, apply: Callable[[Connection], Job | JobRefused], key: RequestKey | None) -> Job:
        once = self._once(key)

        def write(connection: Connection) -> Job | Exception:
            known = _known(connection, once)
            if isinstance(known, str):
                return jobs.get(connection, known) or JobRefused("NOT_FOUND", f"job '{known}' was deleted")
            if known is not None:
                return known
            done = apply(connection)
            if isinstance(done, Job):
                requests.remember(connection, once, done.job)
            return done

        return self._write(write)

    def _once(self, key: RequestKey | None) -> RequestKey:
        """A key of its own where there is none: the writer repeats a commit whose outcome is unknown."""
        return key or RequestKey("writer", self._clock.new_id(), "")

    def _write(self, apply: Callable[[Connection], T | Exception]) -> T:
        done = self._store.write(apply).result(PATIENCE_S)
        if isinstance(done, Exception):
            raise done
        return done


def _known(connection: Connection, key: RequestKey) -> str | RequestReused | None:
    try:
        return requests.outcome(connection, key)
    except RequestReused as reused:
        return reused


def _expected_job(connection: Connection, name: str, etag: str) -> Job | JobRefused:
    found = jobs.get(connection, name)
    if found is None:
        return JobRefused("NOT_FOUND", f"no job '{name}' is stored")
    if etag and etag != found.etag:
        return JobRefused("ETAG_MISMATCH", f"job '{name}' was changed since it was read: read it again")
    return found
