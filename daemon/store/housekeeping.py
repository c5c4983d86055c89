"""What the writer's thread does beside writing: pictures within their time and quota, the log within bounds.

No result depends on it. It knows nothing of what is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from lineside.daemon.clock import Clock
from lineside.daemon.store import database
from lineside.daemon.store.errors import Alarm, AlarmCode, StoreBusy
from lineside.daemon.store.evidence import EvidenceFiles
from lineside.daemon.store.expiry import EvidenceExpiry
from lineside.daemon.store.losses import Losses
from lineside.daemon.store.quota import EvidenceQuota
from lineside.daemon.store.witnessed import WitnessedTime, load_mark, save_mark
from lineside.daemon.store.writer import is_disk_full
from lineside.daemon.values import Intake

log = structlog.get_logger(__name__)

DAY_S = 86_400


class Housekeeping:
    """Keeps a store's folder in order. `open` runs before the writer starts, the rest in its thread."""

    def __init__(
        self,
        engine: Engine,
        file: Path,
        files: EvidenceFiles,
        clock: Clock,
        *,
        quota_bytes: int,
        alarm: Callable[[Alarm], None],
    ) -> None:
        self._engine = engine
        self._file = file
        self._files = files
        self._clock = clock
        self._quota_bytes = quota_bytes
        self._alarm = alarm
        self._losses = Losses(engine, clock, alarm)
        # Set by `open`.
        self._witnessed: WitnessedTime
        self._expiry: EvidenceExpiry
        self._quota: EvidenceQuota

    def open(self, *, adopt: bool) -> None:
        """Goes on with the time of keeping, and squares pictures with rows (see `EvidenceQuota.sweep`).

        Raises:
            OSError, sqlite3.Error: the disk does not let it be read or written.
        """
        self._files.create()
        with self._engine.begin() as connection:
            mark = load_mark(connection)
        self._witnessed = WitnessedTime(self._clock, mark)
        self._look_at_the_clock()
        with self._engine.begin() as connection:
            save_mark(connection, self._witnessed.mark())
        self._expiry = EvidenceExpiry(self._engine, self._files, self._clock, self._witnessed)
        self._quota = EvidenceQuota(self._engine, self._files, self._quota_bytes, self._witnessed)
        lost = self._quota.sweep(adopt=adopt)
        if lost:
            message = f"{lost} evidence files that rows name are not there any more"
            self._alarm(Alarm(AlarmCode.EVIDENCE_MISSING, message, self._clock.now()))

    def deadline(self, decided_at: datetime, keep_until: datetime | None) -> int | None:
        """`keep_until` on the scale of `witnessed`; None: as long as the quota lasts."""
        return None if keep_until is None else self._witnessed.deadline(decided_at, keep_until)

    def tidy(self) -> bool:
        """A bounded bit of work; True when pictures are left whose time is over."""
        more = False
        try:
            if self._expiry.due():
                self._look_at_the_clock()
                more = self._expiry.run()
            if self._quota.enforce():
                self._losses.evicted()
            self._losses.note()
            if database.wal_bytes(self._file) > database.WAL_LIMIT_BYTES:
                database.checkpoint(self._engine)
        except (OSError, SQLAlchemyError, sqlite3.Error) as error:
            # No result depends on it, and the next write finds the same trouble and raises the alarm.
            log.warning("store.tidy_failed", error=str(error))
        return more

    @contextmanager
    def counting(self, intake: Intake) -> Iterator[None]:
        """Counts the part if it is refused because writing stays behind. Thread-safe."""
        try:
            yield
        except StoreBusy:
            self._losses.refused(intake)
            raise

    def make_room(self, error: Exception, spare: Set[str]) -> None:
        """Removes pictures, but for `spare`, when `error` says that the disk is full."""
        if not is_disk_full(error):
            return
        try:
            self._quota.make_room(spare)
        except (OSError, SQLAlchemyError) as failure:
            log.warning("store.make_room_failed", error=str(failure))

    def _look_at_the_clock(self) -> None:
        doubted = self._witnessed.look()
        if doubted:
            message = (
                f"by the clock the store was closed {doubted.total_seconds() / DAY_S:.1f} days longer than "
                "a clock is believed; pictures are kept that much longer. If the device was not switched "
                "off for so long, its clock is or was wrong"
            )
            self._alarm(Alarm(AlarmCode.CLOCK_DOUBTED, message, self._clock.now()))
