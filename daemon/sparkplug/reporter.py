"""Sparkplug over MQTT: sends what the edge node's state says, and hears hosts.

Threads, started in `open` and ended in `close`: `sparkplug-link`, `sparkplug-edge` (the only one that
sends, so that numbers are in order), `sparkplug-commands`, and paho's own for each session.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import structlog

from lineside.daemon.clock import Clock
from lineside.daemon.ports import NotReady, RunningAppliance, UnknownName
from lineside.daemon.reporting.link import Link, LinkState
from lineside.daemon.reporting.mqtt import Message, Received, Session, SessionLost
from lineside.daemon.reporting.options import MqttOptions
from lineside.daemon.sparkplug import mapping
from lineside.daemon.sparkplug.edge_node import EdgeNode, Outgoing
from lineside.daemon.sparkplug.options import SparkplugOptions
from lineside.daemon.sparkplug.results import Results, SparkplugOutbox
from lineside.daemon.sparkplug.turns import Turns

MOST_COMMANDS = 64  # waiting; one more is dropped, which QoS 0 may do anyway
FAREWELL_S = 3.0
_WAIT_S = 0.5
_log = structlog.get_logger(__name__)


class Heard(NamedTuple):
    """A message and the session it came over."""

    session: Session
    received: Received


class SparkplugReporter:
    """Reports an appliance and its outbox as a Sparkplug edge node. `spread`: numbers from 0 to 1."""

    def __init__(
        self,
        appliance: RunningAppliance,
        outbox: SparkplugOutbox,
        clock: Clock,
        options: MqttOptions,
        sparkplug: SparkplugOptions,
        spread: Callable[[], float],
    ) -> None:
        self._appliance = appliance
        self._clock = clock
        self._options = options
        self._sparkplug = sparkplug
        self._spread = spread
        self._names = sparkplug.names
        self._node = EdgeNode(self._names)
        self._results = Results(outbox, sparkplug.settle_s, sparkplug.history_per_s)
        self._stop = threading.Event()
        self._states: deque[Heard] = deque(maxlen=MOST_COMMANDS)
        self._commands: deque[Heard] = deque(maxlen=MOST_COMMANDS)
        self._wanted: queue.Queue[tuple[str, str]] = queue.Queue(MOST_COMMANDS)
        self._refusals: dict[str, str] = {}
        self._alert = ("", "")
        self._will_number = 0
        self._greeted: tuple[Session, int] | None = None
        self._link = Link(
            options,
            will=self._will,
            greet=self._greet,
            on_message=self._take,
            spread=spread,
            thread="sparkplug-link",
        )
        self._threads = (
            threading.Thread(target=self._run, name="sparkplug-edge", daemon=True),
            threading.Thread(target=self._do_commands, name="sparkplug-commands", daemon=True),
        )

    def open(self) -> None:
        """Starts; returns at once, whether or not there is a broker."""
        self._link.open()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Says NDEATH and goes. What did not surely arrive is in the outbox."""
        self._stop.set()
        if self._threads[0].is_alive():
            self._threads[0].join()  # nothing may be sent after the death
        self._link.close(self._farewell)
        if self._threads[1].is_alive():
            self._threads[1].join()

    def alert(self, code: str, message: str, result_id: str | None = None) -> None:
        """Shows an alert in the node's metrics. Thread-safe and quick."""
        self._alert = (code, message)

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
        counted = self._results.counters
        return {
            "sparkplug_connects": self._link.connects,
            "sparkplug_sent": counted.live,
            "sparkplug_historical": counted.historical,
            "sparkplug_acknowledged": counted.acknowledged,
        }

    # What the link asks for, in its thread.

    def _will(self) -> Message:
        self._will_number = self._link.connect_packets % 256
        return message_of(self._node.will(self._will_number, mapping.milliseconds(self._clock.now())))

    def _greet(self, session: Session) -> None:
        state = self._names.host_state
        for wanted in (self._names.node_commands, self._names.device_commands, state):
            if wanted is not None:
                session.subscribe(wanted)
        self._greeted = (session, self._will_number)

    def _farewell(self, session: Session) -> None:
        death = self._node.death(mapping.milliseconds(self._clock.now()))
        receipt = session.publish(message_of(death))
        if not receipt.wait(FAREWELL_S):
            raise SessionLost("the broker did not take the death: it will say it itself")
        self._results.all_arrived()  # a broker takes in order: what it was sent before, it has

    def _take(self, session: Session, received: Received) -> None:
        heard = Heard(session, received)
        if received.topic == self._names.host_state:
            self._states.append(heard)
        elif received.retained:
            _log.warning("sparkplug_command_retained", topic=received.topic)
        else:
            self._commands.append(heard)

    # The threads.

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            session = self._link.wait_session(_WAIT_S)
            greeted = self._greeted
            if session is None or greeted is None or greeted[0] is not session:
                continue
            turns = Turns(
                session,
                self._node,
                self._results,
                self._sparkplug,
                self._clock,
                appliance=self._appliance,
                states=self._states,
                commands=self._commands,
                select=self._select,
                told=lambda: (self._alert, dict(self._refusals)),
            )
            try:
                self._node.connected(greeted[1], str(session.broker))
                if turns.run(self._stop, alone=len(self._options.brokers) == 1):
                    continue
                self._leave(session)
                failures = 1
            except SessionLost as error:
                session.drop(str(error))
                failures = 1
            except Exception as error:  # noqa: BLE001 - the loop's edge: the node must be born again when all is well
                _log.error("sparkplug_failed", exc_info=error)
                session.drop("the edge node failed")
                failures += 1
            self._node.lost()
            self._results.session_over()
            self._stop.wait(self._options.backoff.delay(max(1, failures), self._spread()))

    def _leave(self, session: Session) -> None:
        """The primary host is not there: a death, a goodbye, and the next server."""
        self._link.start_after(session.broker)
        receipt = session.publish(message_of(self._node.death(mapping.milliseconds(self._clock.now()))))
        receipt.wait(FAREWELL_S)
        session.close()

    def _select(self, station: str, recipe: str) -> None:
        with contextlib.suppress(queue.Full):
            self._wanted.put_nowait((station, recipe))

    def _do_commands(self) -> None:
        while not self._stop.is_set():
            try:
                station, recipe = self._wanted.get(timeout=0.2)
            except queue.Empty:
                continue
            try:
                self._appliance.select_recipe(station, recipe)
                self._refusals[station] = ""
            except (UnknownName, NotReady) as error:
                self._refusals[station] = str(error)
            except Exception as error:  # noqa: BLE001 - the listener's edge: the host must see that it failed
                _log.error("sparkplug_command_failed", exc_info=error)
                self._refusals[station] = "the device's software failed; its log says how"


def message_of(out: Outgoing) -> Message:
    """As the session sends it: binary, never retained."""
    return Message(out.topic, out.payload, qos=out.qos, content_type=None)
