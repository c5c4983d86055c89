"""Reporting over MQTT, put together: the link, the drain, the states, and the commands.

Threads, all started in `open` and ended in `close`: `mqtt-link`, `mqtt-drain`, `mqtt-replay`,
`mqtt-states`, `mqtt-commands`, and paho's own for each session.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from lineside.daemon.clock import Clock
from lineside.daemon.ports import RunningAppliance
from lineside.daemon.reporting import payload
from lineside.daemon.reporting.commands import Commands
from lineside.daemon.reporting.drain import Drain, Outbox
from lineside.daemon.reporting.link import Link, LinkState
from lineside.daemon.reporting.mqtt import Message, Received, Session, SessionLost
from lineside.daemon.reporting.options import MqttOptions
from lineside.daemon.reporting.replay import Records, Replay
from lineside.daemon.reporting.topics import Topics

STATES_EVERY_S = 1.0
MOST_COMMANDS = 64  # waiting; one more is answered BUSY
MOST_ALERTS = 100  # waiting for a broker; the oldest goes first, and is in the log
FAREWELL_S = 3.0
_log = structlog.get_logger(__name__)


class StoredOutbox(Outbox, Records, Protocol):
    """What reporting needs of the store."""


class MqttReporter:
    """Reports an appliance and its outbox. `spread`: numbers from 0 to 1, for waiting times."""

    def __init__(
        self,
        appliance: RunningAppliance,
        outbox: StoredOutbox,
        topics: Topics,
        clock: Clock,
        options: MqttOptions,
        spread: Callable[[], float],
    ) -> None:
        self._appliance = appliance
        self._topics = topics
        self._clock = clock
        self._options = options
        self._stop = threading.Event()
        self._waiting: queue.Queue[tuple[Session, Received]] = queue.Queue(MOST_COMMANDS)
        self._alerts: deque[Message] = deque(maxlen=MOST_ALERTS)
        self._link = Link(options, will=self._will, greet=self._greet, on_message=self._take, spread=spread)
        self._drain = Drain(
            self._link,
            outbox,
            lambda result: payload.verdict(topics, result),
            ack_timeout_s=options.ack_timeout_s,
            backoff=options.backoff,
            spread=spread,
            on_refusal=lambda message: self.alert("MQTT_REFUSED", message),
        )
        self._replay = Replay(
            self._link,
            outbox,
            lambda result: payload.verdict(topics, result),
            per_s=options.replay_per_s,
            ack_timeout_s=options.ack_timeout_s,
        )
        self._commands = Commands(appliance, topics, self._replay.ask)
        self._threads = (
            threading.Thread(target=self._report_states, name="mqtt-states", daemon=True),
            threading.Thread(target=self._do_commands, name="mqtt-commands", daemon=True),
        )

    def open(self) -> None:
        """Starts; returns at once, whether or not there is a broker."""
        self._link.open()
        self._drain.open()
        self._replay.open()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Lets what is in flight arrive, says `offline`, and goes. What is left is in the outbox."""
        self._stop.set()
        self._replay.halt()
        self._drain.close()
        self._link.close(self._farewell)  # before the joins: who waits for a stuck broker is let go
        self._replay.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def alert(self, code: str, message: str, result_id: str | None = None) -> None:
        """Tells the plant of something, now or when a broker is there. Thread-safe and quick."""
        _log.warning("alert", code=code, message=message, result_id=result_id)
        self._alerts.append(payload.alert(self._topics, code, message, self._clock.now(), result_id))

    @property
    def link_state(self) -> LinkState:
        """What the link is doing now."""
        return self._link.state

    @property
    def last_error(self) -> str:
        """Why there is, or last was, no session; empty when there never was trouble."""
        return self._link.last_error

    def counters(self) -> dict[str, int]:
        """Counts since start, for metrics."""
        counted = self._drain.counters
        return {
            "connects": self._link.connects,
            "sent": counted.sent,
            "acknowledged": counted.acknowledged,
            "refused": counted.refused,
            "lost_sessions": counted.lost_sessions,
            "replayed": self._replay.replayed,
        }

    # What the link asks for.

    def _will(self) -> Message:
        return payload.will(self._topics, self._clock.now())

    def _greet(self, session: Session) -> None:
        session.subscribe(self._topics.commands)
        session.publish(self._status(payload.ONLINE))

    def _farewell(self, session: Session) -> None:
        receipt = session.try_publish(self._status(payload.OFFLINE))
        if receipt is None or not receipt.wait(FAREWELL_S):
            raise SessionLost("the broker did not take the farewell: it will say that the device is lost")

    def _take(self, session: Session, received: Received) -> None:
        try:
            self._waiting.put_nowait((session, received))
        except queue.Full:
            reply = self._commands.busy(received)
            if reply is not None:
                # Not `publish`: this is the session's own thread, which nothing may hold up.
                with contextlib.suppress(SessionLost):
                    session.try_publish(reply)

    def _status(self, condition: str) -> Message:
        state = self._appliance.device()
        return payload.status(self._topics, state, condition, self._clock.now(), self._options.rpc_address)

    # The threads.

    def _do_commands(self) -> None:
        while not self._stop.is_set():
            try:
                session, received = self._waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            reply = self._commands.answer(received)
            if reply is None:
                continue
            try:
                session.publish(reply)
            except SessionLost as error:
                _log.warning("reply_lost", topic=reply.topic, why=str(error))

    def _report_states(self) -> None:
        told: dict[str, bytes] = {}
        told_in: Session | None = None
        metrics_due = 0.0
        while not self._stop.wait(STATES_EVERY_S):
            session = self._link.session()
            if session is None:
                continue
            if session is not told_in:
                told, told_in, metrics_due = {}, session, 0.0
            try:
                self._tell_states(session, told)
                self._tell_alerts(session)
                if time.monotonic() >= metrics_due:
                    session.publish(self._metrics())
                    metrics_due = time.monotonic() + self._options.metrics_every_s
            except SessionLost:
                continue  # the link looks after it; states are told anew in the next session
            except Exception as error:  # noqa: BLE001 - the loop's edge: a state that cannot be read now is read again
                _log.error("mqtt_states_failed", exc_info=error)

    def _tell_states(self, session: Session, told: dict[str, bytes]) -> None:
        device = self._appliance.device().device
        for state in self._appliance.stations():
            message = payload.station(self._topics, device, state)
            if told.get(message.topic) != message.payload:
                session.publish(message)
                told[message.topic] = message.payload
        engine_state = self._appliance.device().engine_state.encode()
        if told.get(self._topics.status) != engine_state:
            session.publish(self._status(payload.ONLINE))
            told[self._topics.status] = engine_state

    def _tell_alerts(self, session: Session) -> None:
        while self._alerts:
            message = self._alerts.popleft()
            try:
                session.publish(message)
            except SessionLost:
                self._alerts.appendleft(message)
                raise

    def _metrics(self) -> Message:
        return payload.metrics(
            self._topics,
            self._appliance.device(),
            self._appliance.cameras(),
            self._clock.now(),
            self.counters(),
        )
