"""Empties the outbox into the broker: stored results, in order, acknowledged only when the broker has them.

It owns the thread `mqtt-drain`. Nothing unsent is held here but what is in flight: after a lost
session all that was not acknowledged is read from the outbox again and sent again, byte for byte.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty
from typing import Protocol

import structlog

from lineside.daemon.reporting.backoff import Backoff
from lineside.daemon.reporting.link import Link
from lineside.daemon.reporting.mqtt import Ack, Message, Session, SessionLost
from lineside.daemon.values import Result

CONSUMER = "mqtt"
_WAIT_S = 0.5  # for new results, when nothing is in flight: how late a stop or a lost session is noticed
_ACK_WAIT_S = 0.05  # for acknowledgements: how late new results are noticed while some are in flight
_log = structlog.get_logger(__name__)


class Outbox(Protocol):
    """What the drain needs of the store."""

    def pending(self, consumer: str, limit: int = 100, after: int = 0) -> Sequence[Result]:
        """The oldest unacknowledged results beyond `after`, in order."""
        ...

    def acknowledge(self, consumer: str, sequences: Sequence[int]) -> Future[None]:
        """Notes that the consumer has these."""
        ...

    def last_sequence(self) -> int:
        """The sequence of the newest result; 0 before the first."""
        ...

    def wait_beyond(self, sequence: int, timeout_s: float) -> bool:
        """Waits for a result after `sequence`."""
        ...


@dataclass(slots=True)
class Counters:
    """What happened since start. `refused`: refusals by the broker, which are tried again."""

    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    lost_sessions: int = 0


class Refusal(Exception):
    """The broker did not take a result (not authorised, quota, …): it is tried again, it is never dropped."""


class Drain:
    """`open` starts the thread, `close` ends it after a short wait for what is in flight."""

    def __init__(
        self,
        link: Link,
        outbox: Outbox,
        message_of: Callable[[Result], Message],
        *,
        ack_timeout_s: float,
        backoff: Backoff,
        spread: Callable[[], float],
        on_refusal: Callable[[str], None],
    ) -> None:
        self._link = link
        self._outbox = outbox
        self._message_of = message_of
        self._ack_timeout_s = ack_timeout_s
        self._backoff = backoff
        self._spread = spread
        self._on_refusal = on_refusal
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt-drain", daemon=True)
        self.counters = Counters()

    def open(self) -> None:
        """Starts draining as soon as there is a session."""
        self._thread.start()

    def close(self) -> None:
        """Sends nothing new, waits up to two seconds for what is in flight, and stops."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            session = self._link.wait_session(_WAIT_S)
            if session is None:
                continue
            before = self.counters.acknowledged
            try:
                _Pass(session, self).run()
                failures = 0
                continue
            except SessionLost as error:
                self.counters.lost_sessions += 1
                session.drop(str(error))
            except Refusal as error:
                self._on_refusal(str(error))
            except Exception as error:  # noqa: BLE001 - the loop's edge: results must go on flowing when the store is well again
                _log.error("mqtt_drain_failed", exc_info=error)
            failures = 1 if self.counters.acknowledged > before else failures + 1
            self._stop.wait(self._backoff.delay(failures, self._spread()))


class _Pass:
    """Draining over one session: a window of unacknowledged results that slides over the outbox."""

    def __init__(self, session: Session, drain: Drain) -> None:
        self._session = session
        self._drain = drain
        self._looked_up_to = 0  # what is pending up to here has been sent in this session
        self._in_flight: dict[int, tuple[int, float]] = {}  # mid → sequence, when it was sent
        self._refusal = ""

    def run(self) -> None:
        """Ends when stopped; raises SessionLost, Refusal, and what the store raises."""
        drain = self._drain
        while not drain._stop.is_set():
            if not self._refusal:
                self._fill()
            self._settle(self._take_acks(_ACK_WAIT_S if self._in_flight else 0.0))
            self._check()
            if not self._in_flight:
                if self._refusal:
                    raise Refusal(self._refusal)
                drain._outbox.wait_beyond(self._looked_up_to, _WAIT_S)
        end = time.monotonic() + 2.0
        while self._in_flight and not self._session.ended.is_set() and time.monotonic() < end:
            self._settle(self._take_acks(_ACK_WAIT_S))

    def _fill(self) -> None:
        # One place of the window is left to states and answers, which would starve behind a full outbox.
        room = max(1, self._session.in_flight_limit - 1) - len(self._in_flight)
        if room <= 0:
            return
        drain = self._drain
        newest = drain._outbox.last_sequence()  # before the query, which then sees all up to it
        found = drain._outbox.pending(CONSUMER, room, self._looked_up_to)
        for result in found:
            receipt = self._session.try_publish(drain._message_of(result))
            if receipt is None:
                return
            self._in_flight[receipt.mid] = (result.sequence, time.monotonic())
            self._looked_up_to = result.sequence
            drain.counters.sent += 1
        if len(found) < room:
            self._looked_up_to = max(self._looked_up_to, newest)

    def _take_acks(self, timeout_s: float) -> list[Ack]:
        acks: list[Ack] = []
        queue = self._session.acks
        try:
            acks.append(queue.get(timeout=timeout_s) if timeout_s else queue.get_nowait())
            while True:
                acks.append(queue.get_nowait())
        except Empty:
            return acks

    def _settle(self, acks: list[Ack]) -> None:
        done: list[int] = []
        for ack in acks:
            sequence, _ = self._in_flight.pop(ack.mid, (0, 0.0))
            if not sequence:
                continue  # a state or a reply, which others published
            if ack.refused:
                self._drain.counters.refused += 1
                self._refusal = f"the broker refused result {sequence} with reason 0x{ack.reason:02x}"
            else:
                done.append(sequence)
        if done:
            # Waited for, so that a store that cannot write stops the sending rather than the remembering.
            self._drain._outbox.acknowledge(CONSUMER, done).result(self._drain._ack_timeout_s)
            self._drain.counters.acknowledged += len(done)

    def _check(self) -> None:
        if self._session.ended.is_set():
            raise SessionLost(self._session.why_ended)
        oldest = min((at for _, at in self._in_flight.values()), default=None)
        if oldest is not None and time.monotonic() - oldest > self._drain._ack_timeout_s:
            raise SessionLost(f"no acknowledgement within {self._drain._ack_timeout_s:g} s")
