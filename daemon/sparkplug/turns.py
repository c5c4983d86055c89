"""One session's turns: hear, then be born, then tell: live results first, states, history last."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import structlog

from lineside.daemon.clock import Clock
from lineside.daemon.ports import RunningAppliance
from lineside.daemon.reporting.mqtt import Message, Session, SessionLost
from lineside.daemon.sparkplug import mapping, payload
from lineside.daemon.sparkplug.edge_node import REBIRTH, EdgeNode, Outgoing, Phase, Snapshot, Step
from lineside.daemon.sparkplug.options import SparkplugOptions
from lineside.daemon.sparkplug.results import Results
from lineside.daemon.values import Result

if TYPE_CHECKING:
    from lineside.daemon.sparkplug.reporter import Heard

STATES_EVERY_S = 1.0
_TURN_S = 0.1  # how late a host's word is heard while nothing happens
_log = structlog.get_logger(__name__)

Told = tuple[tuple[str, str], Mapping[str, str]]
"""The last alert, and why each station's last command was refused."""


class Turns:
    """Serves one session, in the edge node's own thread."""

    def __init__(
        self,
        session: Session,
        node: EdgeNode,
        results: Results,
        options: SparkplugOptions,
        clock: Clock,
        *,
        appliance: RunningAppliance,
        states: deque[Heard],
        commands: deque[Heard],
        select: Callable[[str, str], None],
        told: Callable[[], Told],
    ) -> None:
        self._session = session
        self._node = node
        self._results = results
        self._options = options
        self._clock = clock
        self._appliance = appliance
        self._states = states
        self._commands = commands
        self._select = select
        self._told = told
        self._newest: dict[str, Result] = {}
        self._begun = False
        self._states_due = 0.0

    def run(self, stop: threading.Event, *, alone: bool) -> bool:
        """Ends when stopped (True), or when this server is to be left, because the primary host is not there.

        `alone`: there is no other server to try; then one without the host is borne with.
        Raises SessionLost, and what the store raises.
        """
        patience_over = time.monotonic() + self._options.host_wait_s
        while not stop.is_set():
            if self._session.ended.is_set():
                raise SessionLost(self._session.why_ended)
            step, rebirth = self._hear_host(), self._hear_commands()
            if step is Step.LEAVE or (step is Step.ABSENT and not alone):
                return False
            if self._node.phase is Phase.READY or (rebirth and self._node.phase is Phase.BORN):
                self._be_born()
            if self._node.phase is Phase.BORN:
                self._tell()
            elif not alone and time.monotonic() >= patience_over:
                return False
            else:
                stop.wait(_TURN_S)
        return True

    def _hear_host(self) -> Step:
        """What the host asks for; leaving is done at once, else its last word counts."""
        asked = Step.NOTHING
        while self._states:
            session, received = self._states.popleft()
            if session is not self._session:
                continue
            try:
                step = self._node.host_said(payload.host_state(received.payload))
            except payload.BadPayload as error:
                _log.warning("sparkplug_state_not_understood", topic=received.topic, why=str(error))
                continue
            if step is Step.LEAVE:
                return step
            asked = asked if step is Step.NOTHING else step
        return asked

    def _hear_commands(self) -> bool:
        """Passes on what devices are told; says whether a rebirth is wanted."""
        rebirth = False
        while self._commands:
            session, received = self._commands.popleft()
            if session is not self._session:
                continue
            names = self._options.names
            device = names.commanded(received.topic)
            if device is None and received.topic != names.node_commands:
                continue
            try:
                written = self._node.written(device, received.payload)
            except payload.BadPayload as error:
                _log.warning("sparkplug_command_not_understood", topic=received.topic, why=str(error))
                continue
            recipe = written.get(mapping.SELECT_RECIPE)
            if device is None:
                rebirth = rebirth or written.get(REBIRTH) is True
            elif isinstance(recipe, str) and device in {each.station for each in self._appliance.stations()}:
                self._select(device, recipe)
        return rebirth

    def _be_born(self) -> None:
        if not self._begun:
            self._newest = self._results.begin([each.station for each in self._appliance.stations()])
            self._begun = True
        else:
            self._results.again()
        self._send(self._node.births(self._snapshot(), self._now_ms()))

    def _tell(self) -> None:
        live = self._results.live()
        self._send_results(live, historical=False)
        if time.monotonic() >= self._states_due:
            self._states_due = time.monotonic() + STATES_EVERY_S
            self._send(self._node.changes(self._snapshot(), self._now_ms()))
        if not live:
            past = self._results.history()
            self._send_results(past, historical=True)
            if not past:
                self._results.wait(_TURN_S)
        self._results.settle()

    def _send_results(self, results: Iterable[Result], *, historical: bool) -> None:
        for result in results:
            station = result.draft.intake.station
            metrics = mapping.result(result)
            self._send(self._node.happened(station, metrics, self._now_ms(), historical=historical))
            if not historical:
                self._newest[station] = result
            self._results.sent(result, historical=historical)

    def _snapshot(self) -> Snapshot:
        alert, refusals = self._told()
        at_ms = self._now_ms()
        cameras = {each.camera: each for each in self._appliance.cameras()}
        return Snapshot(
            mapping.node(self._appliance.device(), alert, at_ms),
            {
                each.station: mapping.station(
                    each, cameras, self._newest.get(each.station), refusals.get(each.station, ""), at_ms
                )
                for each in self._appliance.stations()
            },
        )

    def _send(self, messages: Iterable[Outgoing]) -> None:
        for out in messages:
            self._session.publish(Message(out.topic, out.payload, qos=out.qos, content_type=None))

    def _now_ms(self) -> int:
        return mapping.milliseconds(self._clock.now())
