"""Sends stored results once more, when somebody asks: behind live ones, slowly, and beside the outbox.

It owns the thread `mqtt-replay`. It never touches the cursor: what the drain has still to send, it sends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from lineside.daemon.reporting.drain import CONSUMER
from lineside.daemon.reporting.link import Link
from lineside.daemon.reporting.mqtt import Message, Receipt, Session, SessionLost
from lineside.daemon.values import Result

MARK = {"replay": "true"}
"""The user property of every replayed message."""
_WAIT_S = 0.2
_log = structlog.get_logger(__name__)


class Records(Protocol):
    """What a replay needs of the store."""

    def since(self, sequence: int, limit: int = 100) -> Sequence[Result]:
        """The results after `sequence`, oldest first."""
        ...

    def pending(self, consumer: str, limit: int = 100, after: int = 0) -> Sequence[Result]:
        """The oldest unacknowledged results beyond `after`, in order."""
        ...

    def last_sequence(self) -> int:
        """The sequence of the newest result; 0 before the first."""
        ...


class ReplayRunning(Exception):
    """Another replay is not through yet; the message says how far it is."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is replayed: `first` to `last`, both included; none where `last` is before `first`."""

    first: int
    last: int


class Replay:
    """`open` starts the thread, `close` ends it; a replay that was running then is not taken up again."""

    def __init__(
        self,
        link: Link,
        records: Records,
        message_of: Callable[[Result], Message],
        *,
        per_s: float,
        ack_timeout_s: float,
    ) -> None:
        self._link = link
        self._records = records
        self._message_of = message_of
        self._per_s = per_s
        self._ack_timeout_s = ack_timeout_s
        self._stop = threading.Event()
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._span: Span | None = None
        self._at = 0  # up to here it was sent and acknowledged
        self._thread = threading.Thread(target=self._run, name="mqtt-replay", daemon=True)
        self.replayed = 0

    def open(self) -> None:
        """Starts; there is nothing to do until somebody asks."""
        self._thread.start()

    def halt(self) -> None:
        """Sends nothing more; returns at once."""
        self._stop.set()
        self._asked.set()

    def close(self) -> None:
        """Ends the thread. Where a broker is stuck, end its session first."""
        self.halt()
        if self._thread.is_alive():
            self._thread.join()

    def ask(self, first: int, limit: int) -> Span:
        """Begins to replay from sequence `first`, at most `limit` results and none that is yet to come.

        Raises:
            ReplayRunning: one at a time.
        """
        with self._lock:
            if self._span is not None:
                far = f"{self._at} of {self._span.last}"
                raise ReplayRunning(f"a replay is at {far}: ask again when it is through")
            span = Span(first, min(self._records.last_sequence(), first + limit - 1))
            if span.last >= span.first:
                self._at, self._span = first - 1, span
                self._asked.set()
            return span

    def _run(self) -> None:
        while not self._stop.is_set():
            self._asked.wait()
            span, session = self._span, self._link.wait_session(_WAIT_S)
            if span is None:
                self._asked.clear()
                continue
            if session is None:
                continue
            try:
                done = self._step(session, span)
            except SessionLost as error:
                _log.info("mqtt_replay_waits", at=self._at, why=str(error))
                done = 0
            except Exception as error:  # noqa: BLE001 - the loop's edge: a store that cannot be read now is read again
                _log.error("mqtt_replay_failed", exc_info=error)
                done = 0
            if self._at >= span.last:
                with self._lock:
                    self._span = None
                    self._asked.clear()
            self._stop.wait(done / self._per_s if done else _WAIT_S)

    def _step(self, session: Session, span: Span) -> int:
        """One handful, acknowledged; how many. Nothing while live results are behind."""
        window = session.in_flight_limit
        if len(self._records.pending(CONSUMER, window)) >= window:
            return 0
        # A quarter of the window at most: live results must find room beside it.
        results = [
            each for each in self._records.since(self._at, max(1, window // 4)) if each.sequence <= span.last
        ]
        receipts = [session.publish(_marked(self._message_of(each))) for each in results]
        for result, receipt in zip(results, receipts, strict=True):
            self._await(session, receipt)
            self._at = result.sequence
            self.replayed += 1
        if not results:
            self._at = span.last  # what was asked for is no longer kept
        return len(results)

    def _await(self, session: Session, receipt: Receipt) -> None:
        end = time.monotonic() + self._ack_timeout_s
        while not receipt.wait(_WAIT_S):
            if session.ended.is_set() or self._stop.is_set() or time.monotonic() >= end:
                raise SessionLost("a replayed result was not acknowledged")


def _marked(message: Message) -> Message:
    return replace(message, user={**message.user, **MARK})
