"""Deletes results whose time is over, where the plant has set one. What was counted of them stays.

Never a result that waits for people, nor one that somebody has decided on: labels are kept for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, exists, select
from sqlalchemy.exc import SQLAlchemyError

from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.result_tables import Result, Review
from lineside.dashboard.plant import read_plant

LOOK_EVERY_S = 3600.0
BATCH = 500
"""Few at once: what is new waits for its turn on SQLite."""
CLOSED = ("none", "done")

log = structlog.get_logger(__name__)


class Keeping:
    """The thread `keeping`."""

    def __init__(self, database: Database, config: DashboardConfig, now: Callable[[], datetime]) -> None:
        self._database, self._config, self._now = database, config, now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeping", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it after the batch under way."""
        self._stop.set()
        self._thread.join(30.0)

    def look(self) -> int:
        """Deletes what is over; gives how many results that were. Raises sqlalchemy.exc.SQLAlchemyError."""
        with self._database.reading() as session:
            days = read_plant(session, self._config).keep_days
        if not days:
            return 0
        before, n = self._now() - timedelta(days=days), 0
        while not self._stop.is_set():
            with self._database.writing() as session:
                over = session.scalars(
                    select(Result.id)
                    .where(
                        Result.decided_at < before,
                        Result.review.in_(CLOSED),
                        ~exists().where(Review.result == Result.id),
                    )
                    .limit(BATCH)
                ).all()
                session.execute(delete(Result).where(Result.id.in_(over)))
            n += len(over)
            if len(over) < BATCH:
                break
        if n:
            log.info("results deleted, their time was over", n=n, days=days)
        return n

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except SQLAlchemyError as error:
                log.error("results whose time is over are not deleted", error=str(error)[:300])
            if self._stop.wait(LOOK_EVERY_S):
                return
