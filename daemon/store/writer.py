"""The writer: one thread that owns the write connection and makes what it is given durable, in order.

What arrives within a few milliseconds shares one transaction and one fsync (group commit). While the
database cannot be written, everything taken is kept and tried again; the state is visible, nothing is
dropped. It knows no table: a request brings its own statements.
"""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, DBAPIError, InternalError, OperationalError

from lineside.daemon.clock import Clock
from lineside.daemon.store.database import checkpoint
from lineside.daemon.store.errors import Alarm, AlarmCode, Health, StoreBusy, StoreClosed
from lineside.daemon.store.evidence import EvidenceFiles, Kept
from lineside.daemon.values import EvidenceImage

log = structlog.get_logger(__name__)

QUEUE_SIZE = 256
"""Requests that may wait. A full queue blocks the caller, and refuses after its timeout: no drops."""
STUCK_AFTER = 3
"""Failed tries in a row after which a full queue refuses at once: callers have parts on a line."""
BATCH_SIZE = 64
LINGER_S = 0.002
"""How long the first request of a batch waits for company."""
FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 5.0
IDLE_S = 30.0
"""With nothing to write, housekeeping comes this often."""
BACKLOG_S = 0.2
"""And this soon again while it says that more is left to do."""
LAST_CALL_S = 5.0
"""After `close` has given up writing: how long a call that the disk has not answered is waited for."""


@dataclass(slots=True, eq=False)
class Request:
    """One thing to make durable. `apply` runs inside the transaction and may run again after a failure.

    `images` are stored before the transaction; what became of them is handed to `apply`.
    """

    apply: Callable[[Connection, Kept], object]
    images: Sequence[EvidenceImage] = ()
    result_id: str | None = None
    future: Future[Any] = field(default_factory=Future)


class Writer:
    """Owns the write engine between `start` and `close`.

    `announce` is called in the writer thread with the batch's values once they are durable, before any
    future resolves; `tidy` after each batch and now and then when there is none, and says whether it left
    something to do. Neither may block for long, nor raise. `on_trouble` gets the failure and the ids of
    the pictures that the rows being written name.
    """

    def __init__(
        self,
        engine: Engine,
        evidence: EvidenceFiles,
        clock: Clock,
        *,
        announce: Callable[[Sequence[object]], None],
        tidy: Callable[[], bool],
        on_trouble: Callable[[Exception, Set[str]], None],
        on_alarm: Callable[[Alarm], None],
    ) -> None:
        self._engine = engine
        self._evidence = evidence
        self._clock = clock
        self._announce = announce
        self._tidy = tidy
        self._on_trouble = on_trouble
        self._on_alarm = on_alarm
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._in_hand: list[Request] = []
        self._closing = False
        self._give_up = threading.Event()
        self._failing: tuple[str, datetime] | None = None
        self._tries = 0
        self._stuck = False
        # A daemon thread: a program that dies without closing must not hang, and being killed loses nothing.
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def submit(self, request: Request, timeout_s: float) -> None:
        """Takes a request; its future resolves when it is durable.

        Raises:
            StoreBusy: the queue stayed full for `timeout_s`, or is full and nothing has been written since
                somebody waited in vain, or since `STUCK_AFTER` tries failed.
            StoreClosed: the store is closing or closed.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._closing or self._stuck or len(self._waiting) < QUEUE_SIZE, timeout=timeout_s
            )
            if self._closing:
                raise StoreClosed("the store is closed")
            if len(self._waiting) >= QUEUE_SIZE:
                self._stuck = True
                raise StoreBusy(f"{QUEUE_SIZE} writes wait already: {self._why()}")
            # From here on the caller cannot cancel: the row will come.
            request.future.set_running_or_notify_cancel()
            self._waiting.append(request)
            self._changed.notify_all()

    def health(self) -> Health:
        """Whether writing works, and how much waits."""
        with self._changed:
            reason, since = self._failing or (None, None)
            return Health(reason is None, reason, since, len(self._waiting) + len(self._in_hand))

    def close(self, timeout_s: float) -> bool:
        """Writes what was taken and stops; what cannot be written in `timeout_s` fails with StoreClosed.

        False: after `LAST_CALL_S` more the disk has still not answered a call. The thread stays in it, as
        nothing can take it out; should the call come back, the batch in hand ends as it then may, though
        its futures have failed, and the thread ends.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        self._give_up.set()
        self._thread.join(LAST_CALL_S)
        if not self._thread.is_alive():
            return True
        with self._changed:
            in_hand = list(self._in_hand)
        self._abandon(in_hand, "the disk has not answered; the next start shows whether it was written")
        return False

    def _run(self) -> None:
        more = False
        while (batch := self._next_batch(BACKLOG_S if more else IDLE_S)) is not None:
            if batch:
                self._store(batch)
                with self._changed:
                    self._in_hand = []
                    self._stuck, self._tries = False, 0
            more = self._tidy()

    def _next_batch(self, idle_s: float) -> list[Request] | None:
        """The next requests, in order; none when none came in `idle_s`; None when the store closes."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._waiting) or self._closing, idle_s):
                return []
            self._changed.wait_for(lambda: len(self._waiting) >= BATCH_SIZE or self._closing, LINGER_S)
            batch = [self._waiting.popleft() for _ in range(min(BATCH_SIZE, len(self._waiting)))]
            self._in_hand = list(batch)
            self._changed.notify_all()
            return batch or None

    def _store(self, batch: list[Request]) -> None:
        """Makes a batch durable, however long it takes, and resolves its futures."""
        kept = self._keep_evidence(batch)
        wait_s = FIRST_RETRY_S
        while batch:
            try:
                self._mend()
                values = self._transact(batch, kept)
            except _RefusedError as refused:
                self._refuse(batch.pop(refused.position), refused.cause)
                kept.pop(refused.position)
            # Any other failure, foreseen or not, must not cost what was taken: it is tried again, in view.
            except Exception as error:  # noqa: BLE001
                self._fail(error)
                self._on_trouble(error, _named(kept))
                if self._give_up.wait(wait_s):
                    self._abandon(batch, self._why())
                    return
                wait_s = min(2 * wait_s, LONGEST_RETRY_S)
            else:
                self._succeed()
                self._announce(values)
                for request, value in zip(batch, values, strict=True):
                    with suppress(InvalidStateError):  # `close` gave this one up while the disk kept still
                        request.future.set_result(value)
                return

    def _keep_evidence(self, batch: Sequence[Request]) -> list[Kept]:
        kept = self._evidence.keep([request.images for request in batch])
        if full := [one.failure for one in kept if one.failure is not None and is_disk_full(one.failure)]:
            # Older, less worthy pictures make room; then these are tried once more.
            self._on_trouble(full[0], _named(kept))
            again = [request.images if one.failure else () for request, one in zip(batch, kept, strict=True)]
            second = self._evidence.keep(again)
            kept = [new if old.failure else old for old, new in zip(kept, second, strict=True)]
        for request, one in zip(batch, kept, strict=True):
            request.images = ()
            if one.failure is not None:
                why = one.failure.strerror or str(one.failure)
                message = f"pictures of a result could not be stored, its verdict stands: {why}"
                self._alarm(AlarmCode.EVIDENCE_LOST, message, request.result_id)
        return kept

    def _transact(self, batch: Sequence[Request], kept: Sequence[Kept]) -> list[object]:
        with self._engine.begin() as connection:
            values: list[object] = []
            for position, (request, one) in enumerate(zip(batch, kept, strict=True)):
                try:
                    values.append(request.apply(connection, one))
                except Exception as error:
                    if is_disk_trouble(error):
                        raise
                    # The request itself is at fault: it alone fails, the others of the batch go on.
                    raise _RefusedError(position, error) from error
            return values

    def _mend(self) -> None:
        """Before writing again after a failure: a fresh connection, and the log moved into the database.

        After a failed fsync the kernel may hold pages for clean that never reached the disk. What the log
        holds is therefore written once more, into the database, before anything is promised on top of it.
        """
        if self._failing is None:
            return
        self._engine.dispose()
        if not checkpoint(self._engine):
            raise sqlite3.OperationalError("a reader kept the log busy while writing was being mended")

    def _fail(self, error: Exception) -> None:
        reason = str(error.orig) if isinstance(error, DBAPIError) else f"{type(error).__name__}: {error}"
        with self._changed:
            first = self._failing is None
            since = self._clock.now() if self._failing is None else self._failing[1]
            self._failing = (reason, since)
            self._tries += 1
            self._stuck = self._stuck or self._tries >= STUCK_AFTER
            self._changed.notify_all()
        if first:
            self._alarm(
                AlarmCode.DATABASE_FAILING, f"results cannot be written, they wait in memory: {reason}"
            )

    def _succeed(self) -> None:
        with self._changed:
            was, self._failing = self._failing, None
        if was is not None:
            self._alarm(
                AlarmCode.DATABASE_RECOVERED, "results are written again; none that was taken is lost"
            )

    def _refuse(self, request: Request, cause: Exception) -> None:
        self._alarm(AlarmCode.REQUEST_REFUSED, f"a write was refused: {cause}", request.result_id)
        with suppress(InvalidStateError):
            request.future.set_exception(cause)

    def _abandon(self, batch: Sequence[Request], why: str) -> None:
        with self._changed:
            left = [*batch, *self._waiting]
            self._waiting.clear()
        for request in left:
            with suppress(InvalidStateError):
                request.future.set_exception(StoreClosed(f"closed before it could be written: {why}"))

    def _why(self) -> str:
        return "the disk is slow" if self._failing is None else self._failing[0]

    def _alarm(self, code: AlarmCode, message: str, result_id: str | None = None) -> None:
        self._on_alarm(Alarm(code, message, self._clock.now(), result_id))


def _named(kept: Sequence[Kept]) -> set[str]:
    return {ref.evidence_id for one in kept for ref in one.refs}


class _RefusedError(Exception):
    def __init__(self, position: int, cause: Exception) -> None:
        super().__init__(str(cause))
        self.position = position
        self.cause = cause


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_disk_trouble(error: BaseException) -> bool:
    """Whether the disk or the database file is to blame, and not what was asked of it."""
    if isinstance(error, DBAPIError):
        return type(error) in (OperationalError, DatabaseError, InternalError)
    return isinstance(error, OSError | sqlite3.OperationalError)


def is_disk_full(error: BaseException) -> bool:
    """Whether there is no room left on the disk."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return isinstance(original, OSError) and original.errno in _NO_ROOM
