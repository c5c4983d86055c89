"""Which job each station works on now, known without asking the disk at every part.

All changes of jobs go through here. Knows nothing of who asks for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from lineside.daemon.jobs import Job, JobMove, JobState
from lineside.daemon.store.desk import Desk
from lineside.daemon.store.requests import RequestKey


class JobBoard:
    """Thread-safe. `open` before use: it reads what ran before a restart."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._holding: Mapping[str, Job] = {}

    def open(self) -> None:
        """Reads which jobs run."""
        self._look()

    def running(self, station: str) -> Job | None:
        """The job that parts triggered now belong to; None while it is interrupted."""
        job = self._holding.get(station)
        return job if job is not None and job.state is JobState.RUNNING else None

    def values(self, station: str) -> Mapping[str, str]:
        """What parts triggered now are compared with; empty without a job."""
        job = self.running(station)
        return {} if job is None else job.values()

    def create(self, job: Job, key: RequestKey | None) -> Job:
        """Stores a job. Raises JobRefused, RequestReused."""
        return self._desk.create_job(job, key)

    def move(self, name: str, move: JobMove, etag: str, key: RequestKey | None) -> Job:
        """Moves a job on. Raises JobRefused, RequestReused."""
        try:
            return self._desk.move_job(name, move, etag, key)
        finally:
            self._look()

    def update(self, name: str, edit: Callable[[Job], Job], etag: str, key: RequestKey | None) -> Job:
        """Changes what a job holds. Raises JobRefused, RequestReused."""
        try:
            return self._desk.update_job(name, edit, etag, key)
        finally:
            self._look()

    def _look(self) -> None:
        # Read under the lock: of two changes at once, the later look must not lose to the earlier.
        with self._lock:
            self._holding = self._desk.holding()
