"""The store's one door: accept, commit, read, wait, acknowledge.

It puts the parts together and owns their order of starting and stopping. It knows nothing of cameras,
engines, brokers or gRPC.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structlog
from sqlalchemy import Connection, Engine

from lineside.daemon.clock import Clock
from lineside.daemon.store import chain, database, device_state, outbox, queries, retention, rows
from lineside.daemon.store.arrivals import Arrivals
from lineside.daemon.store.errors import (
    Alarm,
    AlarmCode,
    EvidenceEvicted,
    EvidenceExpired,
    EvidenceUnavailable,
    Health,
)
from lineside.daemon.store.evidence import EvidenceFiles, Kept
from lineside.daemon.store.housekeeping import Housekeeping
from lineside.daemon.store.interrupted import interrupted
from lineside.daemon.store.opening import lock, mend_reserve, open_database
from lineside.daemon.store.queries import Counts, ResultFilter
from lineside.daemon.store.records import check_draft, check_intake, from_rfc3339, rfc3339
from lineside.daemon.store.requests import RequestKey
from lineside.daemon.store.sequences import SequenceReserve
from lineside.daemon.store.writer import Request, Writer
from lineside.daemon.values import EvidenceImage, Intake, Result, ResultDraft

log = structlog.get_logger(__name__)
T = TypeVar("T")

DEFAULT_QUOTA_BYTES = 8 * 2**30


class Store:
    """The device's results. Open one with `Store.open`; every method is thread-safe.

    What `accept` and `commit` take is made durable in the order of the calls. Their futures resolve in
    the writer's thread once it is on disk: a callback must be short, and must not wait for the store.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str,
        clock: Clock,
        evidence_quota_bytes: int = DEFAULT_QUOTA_BYTES,
        on_alarm: Callable[[Alarm], None] | None = None,
        queue_timeout_s: float = 10.0,
    ) -> None:
        self._path = path
        self._device = device
        self._clock = clock
        self._tell = on_alarm
        self._queue_timeout_s = queue_timeout_s
        self._quota_bytes = evidence_quota_bytes
        self._files = EvidenceFiles(path / "evidence")
        self._reserve = SequenceReserve(path / "sequence.reserved")
        self._arrivals = Arrivals()
        self._stack = ExitStack()
        self._open_before = 0
        self._file = path / database.FOLDER / database.FILE
        # Set by _start, which `open` runs before anybody has the store.
        self._engine: Engine
        self._house: Housekeeping
        self._writer: Writer
        self._readers: Engine

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        device: str,
        clock: Clock,
        evidence_quota_bytes: int = DEFAULT_QUOTA_BYTES,
        on_alarm: Callable[[Alarm], None] | None = None,
        queue_timeout_s: float = 10.0,
    ) -> Self:
        """Opens the store in the folder `path`, creating it when it is not there, and starts its writer.

        `on_alarm` hears, in any thread, of what a person should know; it must be quick.
        `queue_timeout_s`: how long `accept` and `commit` block while the writer is behind.

        Raises:
            StoreInUse: another process has it open.
            NewerDatabase: a newer release wrote it.
            StoreError, OSError, sqlite3.Error: it cannot be opened now; nothing was lost.
        """
        store = cls(
            path,
            device=device,
            clock=clock,
            evidence_quota_bytes=evidence_quota_bytes,
            on_alarm=on_alarm,
            queue_timeout_s=queue_timeout_s,
        )
        try:
            store._start()
        except BaseException:
            store._stack.close()
            raise
        return store

    def _start(self) -> None:
        self._path.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock(self._path, self._stack)
        opened = open_database(self._path, self._reserve, self._clock.now(), self._stack)
        if opened.damage is not None:
            self._alarm(Alarm(AlarmCode.DATABASE_DAMAGED, opened.damage, self._clock.now()))
        mend_reserve(self._reserve, opened)
        if opened.created and opened.damage is None and self._reserve.reserved() > 0:
            gone = "the database is gone or empty; a new one was begun, its numbers follow the old ones"
            self._alarm(Alarm(AlarmCode.DATABASE_DAMAGED, gone, self._clock.now()))
        self._engine = opened.writer
        self._house = Housekeeping(
            opened.writer,
            opened.file,
            self._files,
            self._clock,
            quota_bytes=self._quota_bytes,
            alarm=self._alarm,
        )
        self._house.open(adopt=opened.created)
        self._readers = database.reader_engine(opened.file)
        self._stack.callback(self._readers.dispose)
        with self._readers.begin() as connection:
            self._arrivals.start_at(chain.head(connection)[0])
            self._open_before = queries.last_ordinal(connection)
        self._writer = Writer(
            opened.writer,
            self._files,
            self._clock,
            announce=self._announce,
            tidy=self._house.tidy,
            on_trouble=self._house.make_room,
            on_alarm=self._alarm,
        )
        self._writer.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Writes what was taken, stops the writer, wakes all waiters. A second call does nothing.

        What the disk does not take within `timeout_s` fails with StoreClosed; an accepted part among it
        is closed as interrupted at the next start. A call that the disk never answers is given up
        `writer.LAST_CALL_S` later, with an alarm: the files then stay open and the folder locked, so that
        nobody works beside the unfinished call, until this process ends (or `close` is called again once
        the call has come back).
        """
        stopped = self._writer.close(timeout_s)
        self._arrivals.close()
        if not stopped:
            message = "closed while the disk does not answer a call; the store stays locked by this process"
            self._alarm(Alarm(AlarmCode.DATABASE_FAILING, message, self._clock.now()))
            return
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Writing

    def accept(self, intake: Intake, request: RequestKey | None = None) -> Future[None]:
        """Notes that a trigger was accepted; from when the future resolves, the part gets a verdict row.

        `request`: the client's call that led to it. The same `result_id` again changes nothing.

        Raises:
            StoreBusy: the writer stays behind; the trigger is not accepted, counted and told of.
            StoreClosed: the store is closed.
            ValueError: the intake holds what JSON cannot carry.
        """
        check_intake(intake)
        with self._house.counting(intake):
            return self._submit(
                lambda connection, _: rows.accept(connection, intake, request), result_id=intake.result_id
            )

    def commit(
        self,
        draft: ResultDraft,
        images: Sequence[EvidenceImage] = (),
        *,
        keep_until: datetime | None = None,
    ) -> Future[Result]:
        """Writes the verdict of a part with its findings and pictures, and closes its intake, all at once.

        The future gives the stored result. A second commit for the same `result_id` gives the first
        result unchanged. Pictures that the disk refuses are left out, `evidence_lost` is set, and an
        alarm is raised: the verdict is written all the same.

        `keep_until`: the pictures go once that time has come, by the clock that gave `decided_at` (the
        store measures how far the two lie apart); None: they stay as long as the quota lasts. A picture
        that several results name stays for the longest of theirs.

        Raises:
            StoreBusy, StoreClosed: nothing was taken; the intake stays open.
            ValueError: the draft holds what JSON cannot carry (NaN, a time without zone): decide again,
                as NOT_DECIDABLE with INTERNAL_ERROR.
        """
        check_draft(draft)
        if keep_until is not None:
            rfc3339(keep_until)
        return self._submit(
            lambda connection, kept: rows.commit(
                connection,
                draft,
                kept,
                device=self._device,
                reserve=self._reserve,
                keep_until_s=self._house.deadline(draft.decided_at, keep_until),
            ),
            images=tuple(images),
            result_id=draft.intake.result_id,
        )

    def recover(self, boot_id: str, timeout_s: float = 60.0) -> list[Result]:
        """Closes what an earlier run left open, as NOT_DECIDABLE with INTERRUPTED, in their order.

        Parts accepted since this store was opened are not touched. `boot_id` is that of now: the reason
        says whether the device or only the program stopped.

        Raises:
            TimeoutError: the disk does not take the rows; they stay open or come later.
        """
        left = self._read(lambda connection: queries.open_intakes(connection, self._open_before))
        now, synchronised = self._clock.now(), self._clock.synchronised()
        futures = [self.commit(interrupted(intake, boot_id, now, synchronised)) for intake in left]
        deadline = time.monotonic() + timeout_s
        return [future.result(max(0.0, deadline - time.monotonic())) for future in futures]

    def acknowledge(self, consumer: str, sequences: Sequence[int]) -> Future[None]:
        """Notes that a consumer has these results; they are pending no more. Any order, repeats allowed.

        The future fails with ValueError when a sequence was never given.
        """
        taken = tuple(sequences)
        return self._submit(lambda connection, _: outbox.acknowledge(connection, consumer, taken))

    def set_state(self, key: str, value: str) -> Future[None]:
        """Keeps a small fact of the device under `key`."""
        return self._submit(lambda connection, _: device_state.set_state(connection, f"kept.{key}", value))

    def reserve_numbers(self, name: str, count: int) -> Future[range]:
        """Reserves `count` numbers of a named counter: nobody is ever given them again, whatever crashes."""
        return self._submit(lambda connection, _: device_state.reserve_numbers(connection, name, count))

    # Reading: each call on its own connection and snapshot; never in the writer's way.

    def get(self, result_id: str) -> Result | None:
        """The stored result, or None."""
        return self._read(lambda connection: queries.get(connection, result_id))

    def find(
        self, wanted: ResultFilter, page_size: int = 50, before_sequence: int | None = None
    ) -> list[Result]:
        """The newest results that fit, newest first; the next page starts before the last one's sequence."""
        return self._read(lambda connection: queries.find(connection, wanted, page_size, before_sequence))

    def since(self, sequence: int, limit: int = 100) -> list[Result]:
        """The results after `sequence`, oldest first."""
        return self._read(lambda connection: queries.since(connection, sequence, limit))

    def pending(self, consumer: str, limit: int = 100, after: int = 0) -> list[Result]:
        """The oldest results beyond `after` that the consumer has not acknowledged, in order.

        A consumer never heard of has everything still to come.
        """
        return self._read(lambda connection: outbox.pending(connection, consumer, limit, after))

    def depth(self, consumer: str) -> int:
        """How many results the consumer has not acknowledged."""
        return self._read(lambda connection: outbox.depth(connection, consumer))

    def oldest_unsent_age(self, consumer: str) -> float | None:
        """Seconds since the oldest unacknowledged result was decided, by wall clock; None when none waits."""
        decided_at = self._read(lambda connection: outbox.oldest(connection, consumer))
        if decided_at is None:
            return None
        return max(0.0, (self._clock.now() - from_rfc3339(decided_at)).total_seconds())

    def state(self, key: str) -> str | None:
        """The fact kept under `key`, or None."""
        return self._read(lambda connection: device_state.state(connection, f"kept.{key}"))

    def counts(self) -> Counts:
        """Totals since the database began."""
        return self._read(queries.counts)

    def read_evidence(self, evidence_id: str) -> bytes:
        """A stored picture, checked against its hash.

        Raises:
            EvidenceUnavailable: no result names it. EvidenceEvicted: the quota took it.
            EvidenceExpired: its time of keeping is over.
            EvidenceDamaged: its file is missing or altered.
            ValueError: not an evidence id.
        """
        self._files.path(evidence_id)
        found = self._read(lambda connection: queries.evidence_state(connection, evidence_id))
        if found is None:
            raise EvidenceUnavailable(f"no result names evidence {evidence_id}")
        if found == retention.EVICTED:
            raise EvidenceEvicted(f"evidence {evidence_id} was removed to make room")
        if found == retention.EXPIRED:
            raise EvidenceExpired(f"the time of keeping of evidence {evidence_id} is over; it was removed")
        return self._files.read(evidence_id)

    def verify(self) -> chain.Verification:
        """Checks the whole chain of results: the first row that does not hold, or none."""
        return self._read(chain.verify)

    # Waiting

    def last_sequence(self) -> int:
        """The sequence of the last durable result; 0 before the first."""
        return self._arrivals.last()

    def wait_beyond(self, sequence: int, timeout_s: float) -> bool:
        """Waits for a result after `sequence`; False when none came in `timeout_s` or the store closes."""
        return self._arrivals.wait_beyond(sequence, timeout_s)

    def wait_result(self, result_id: str, timeout_s: float) -> Result | None:
        """The result, as soon as it is durable; None when it has not come within `timeout_s`."""
        with self._arrivals.expect(result_id) as coming:
            stored = self.get(result_id)
            if stored is not None:
                return stored
            try:
                return coming.result(timeout_s)
            except FutureTimeout:
                return None

    # For `desk`, which keeps what is not a result.

    def write(self, apply: Callable[[Connection], T]) -> Future[T]:
        """Runs statements in the writer's next transaction; they may run again after a failure."""
        return self._submit(lambda connection, _: apply(connection))

    def read(self, query: Callable[[Connection], T]) -> T:
        """Runs a query on a snapshot of its own."""
        return self._read(query)

    def healthy(self) -> Health:
        """Whether writing works now, why not, and how many writes wait."""
        return self._writer.health()

    # The writer's thread calls these.

    def _announce(self, values: Sequence[object]) -> None:
        self._arrivals.announce([value for value in values if isinstance(value, Result)])

    def _alarm(self, alarm: Alarm) -> None:
        log.error("store.alarm", code=str(alarm.code), message=alarm.message, result_id=alarm.result_id)
        if self._tell is None:
            return
        try:
            self._tell(alarm)
        # A listener's fault must not stop the writer: the alarm is in the log already.
        except Exception:
            log.exception("store.alarm_listener_failed")

    def _submit(
        self,
        apply: Callable[[Connection, Kept], T],
        *,
        images: Sequence[EvidenceImage] = (),
        result_id: str | None = None,
    ) -> Future[T]:
        future: Future[T] = Future()
        request = Request(apply=apply, images=images, result_id=result_id, future=future)
        self._writer.submit(request, self._queue_timeout_s)
        return future

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self._readers.begin() as connection:
            return query(connection)
