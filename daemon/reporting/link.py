"""Keeps a session to some broker, for ever: which broker, which protocol, how long to wait.

It owns one thread (`mqtt-link`). It knows nothing of what is sent over the session.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import structlog

from lineside.daemon.reporting.mqtt import Message, NotConnected, Received, Session, SessionLost
from lineside.daemon.reporting.options import Broker, MqttOptions, Protocol

_LOOK_S = 0.2
_log = structlog.get_logger(__name__)


class LinkState(StrEnum):
    """What the link is doing."""

    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    WAITING = "WAITING"  # all brokers failed; the next try is due later
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A session, or why there is none; neither when the session was lost at once, or trying was stopped."""

    session: Session | None = None
    failure: NotConnected | None = None


class Link:
    """`open` starts trying, `close` ends it. `session` is the live one, or None.

    `will`: makes the last will for a new session. `greet`: what is said first in a new session, before
    anybody else may use it; it may raise SessionLost. `spread`: numbers from 0 to 1 for the backoff.
    `thread`: what its thread is called. `connect_packets`: how many CONNECT packets were sent so far.
    """

    def __init__(
        self,
        options: MqttOptions,
        *,
        will: Callable[[], Message],
        greet: Callable[[Session], None],
        on_message: Callable[[Session, Received], None],
        spread: Callable[[], float],
        thread: str = "mqtt-link",
    ) -> None:
        self._options = options
        self._will = will
        self._greet = greet
        self._on_message = on_message
        self._spread = spread
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._session: Session | None = None
        self._deaf_to_v5: set[Broker] = set()
        self._first = 0  # which broker is tried first
        self._thread = threading.Thread(target=self._run, name=thread, daemon=True)
        self.state = LinkState.STOPPED
        self.last_error = ""
        self.connects = 0
        self.connect_packets = 0

    def open(self) -> None:
        """Starts trying; returns at once, whether or not there is a broker."""
        self._thread.start()

    def close(self, farewell: Callable[[Session], None]) -> None:
        """Stops trying; says `farewell` and goodbye on a live session, so that the will is not spoken."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        session, self._session = self._session, None
        if session is not None:
            try:
                farewell(session)
                session.close()
            except SessionLost as error:
                _log.warning("mqtt_farewell_lost", why=str(error))
            finally:
                session.drop("the link was closed")
        self.state = LinkState.STOPPED

    def session(self) -> Session | None:
        """The live session, or None."""
        session = self._session
        return None if session is None or session.ended.is_set() else session

    def wait_session(self, timeout_s: float) -> Session | None:
        """The live session as soon as there is one; None after `timeout_s`, or when the link stops."""
        with self._changed:
            self._changed.wait_for(lambda: self.session() is not None or self._stop.is_set(), timeout_s)
        return self.session()

    def start_after(self, broker: Broker) -> None:
        """From now on begins with the broker after this one, instead of with the first."""
        brokers = self._options.brokers
        self._first = (brokers.index(broker) + 1) % len(brokers)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self.state = LinkState.CONNECTING
            try:
                session = self._try_all()
            except Exception as error:  # noqa: BLE001 - the loop's edge: there must always be a next try
                _log.error("mqtt_link_failed", exc_info=error)
                self.last_error = repr(error)
                session = None
            if session is None:
                failures += 1
                self.state = LinkState.WAITING
                self._stop.wait(self._options.backoff.delay(failures, self._spread()))
                continue
            failures = 0
            self._live(session)
            if not self._stop.is_set():
                # A broker that accepts and drops at once must not be hammered.
                self._stop.wait(self._options.backoff.delay(1, self._spread()))

    def _live(self, session: Session) -> None:
        with self._changed:
            self._session = session
            self.state = LinkState.CONNECTED
            self.connects += 1
            self._changed.notify_all()
        while not self._stop.is_set() and not session.ended.wait(_LOOK_S):
            pass
        if not session.ended.is_set():
            return  # `close` says goodbye on it
        with self._changed:
            self._session = None
        session.drop(session.why_ended)
        self.last_error = session.why_ended
        _log.warning("mqtt_lost", broker=str(session.broker), why=session.why_ended)

    def _try_all(self) -> Session | None:
        first, brokers = self._first, self._options.brokers
        for broker in (*brokers[first:], *brokers[:first]):
            session = self._try(broker)
            if session is not None or self._stop.is_set():
                return session
        return None

    def _try(self, broker: Broker) -> Session | None:
        """MQTT 5 first. The old protocol where the broker refuses the new one, or proves deaf to it."""
        if broker.protocol is not None:
            return self._attempt(broker, broker.protocol).session
        if broker in self._deaf_to_v5:
            # Known to leave MQTT 5 unanswered: asking first would cost a timeout at every reconnecting.
            old = self._attempt(broker, Protocol.V311)
            if old.session is None:
                self._deaf_to_v5.discard(broker)  # the next try finds out anew who is there
            return old.session
        new = self._attempt(broker, Protocol.V5)
        if new.failure is None or not (new.failure.old_protocol or new.failure.silent):
            return new.session
        if new.failure.old_protocol:
            return self._attempt(broker, Protocol.V311).session
        return self._settle_silence(broker)

    def _settle_silence(self, broker: Broker) -> Session | None:
        """Deaf to MQTT 5, or not up yet? Deaf is who answers the old protocol on both sides of a silence."""
        probe = Session(broker, Protocol.V311, self._options, lambda session, received: None)
        try:
            probe.open(self._will())
        except NotConnected as error:
            self._trouble(broker, Protocol.V311, str(error))
            return None
        finally:
            self.connect_packets += probe.connect_sent
        probe.close()
        again = self._attempt(broker, Protocol.V5)
        if again.failure is None or not again.failure.silent:
            return again.session
        old = self._attempt(broker, Protocol.V311)
        if old.session is not None:
            self._deaf_to_v5.add(broker)
        return old.session

    def _attempt(self, broker: Broker, protocol: Protocol) -> _Attempt:
        if self._stop.is_set():
            return _Attempt()
        session = Session(broker, protocol, self._options, self._on_message)
        try:
            try:
                session.open(self._will())
            finally:
                self.connect_packets += session.connect_sent
            self._greet(session)
        except NotConnected as error:
            self._trouble(broker, protocol, str(error))
            return _Attempt(failure=error)
        except SessionLost as error:
            session.drop(str(error))
            self._trouble(broker, protocol, str(error))
            return _Attempt()
        except BaseException:
            session.drop("the greeting failed")
            raise
        _log.info("mqtt_connected", broker=str(broker), protocol=protocol.value)
        return _Attempt(session=session)

    def _trouble(self, broker: Broker, protocol: Protocol, why: str) -> None:
        self.last_error = why
        _log.warning("mqtt_not_connected", broker=str(broker), protocol=protocol.value, why=why)
