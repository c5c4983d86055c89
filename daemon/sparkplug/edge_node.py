"""The state of a Sparkplug edge node: what may be said when, with which numbers. Pure: no thread, no time.

Whoever has the connection tells it what happened, and sends what it gives, in that order and from one thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lineside.daemon.sparkplug import payload
from lineside.daemon.sparkplug.names import Names
from lineside.daemon.sparkplug.payload import HostState, Metric, Value

REBIRTH = "Node Control/Rebirth"
BD_SEQ = "bdSeq"
UNALIASED = {REBIRTH, BD_SEQ}


class Phase(StrEnum):
    """How far the session is. Births are the first thing said, and not before READY."""

    AWAY = "AWAY"
    WAITING = "WAITING"  # connected; the primary host is not known to be there
    READY = "READY"  # births are due
    BORN = "BORN"


class Step(StrEnum):
    """What a host's word asks for."""

    NOTHING = "NOTHING"
    BIRTH = "BIRTH"
    LEAVE = "LEAVE"  # say NDEATH, disconnect, and try the next server
    ABSENT = "ABSENT"  # the host is not here, and nothing was born yet


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. Births and data have QoS 0 and are never retained; a death has QoS 1."""

    topic: str
    payload: bytes
    qos: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every metric as it is now: of the node itself (without bdSeq and Rebirth), and of each device."""

    node: Sequence[Metric]
    devices: Mapping[str, Sequence[Metric]]


class EdgeNode:
    """One edge node. Not thread-safe."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._phase = Phase.AWAY
        self._bd_seq = 0
        self._server = ""
        self._heard: dict[str, int] = {}  # server → the primary host's newest timestamp there
        self._seq = 0
        self._aliases: dict[str | None, dict[str, int]] = {}
        self._last_alias = 0
        self._told: dict[str | None, dict[str, Value]] = {}

    @property
    def phase(self) -> Phase:
        """How far the session is."""
        return self._phase

    @property
    def bd_seq(self) -> int:
        """Which birth this session's is, and its death."""
        return self._bd_seq

    def connected(self, bd_seq: int, server: str) -> None:
        """There is a session with a server, whose will bears this number."""
        self._bd_seq = bd_seq
        self._server = server
        self._phase = Phase.READY if self._names.host is None else Phase.WAITING

    def lost(self) -> None:
        """The session is over."""
        self._phase = Phase.AWAY

    def host_said(self, state: HostState) -> Step:
        """The primary host spoke. A word older than what it said before on this server counts for nothing."""
        newest = self._heard.get(self._server)
        if self._phase is Phase.AWAY or (newest is not None and state.timestamp < newest):
            return Step.NOTHING
        self._heard[self._server] = state.timestamp
        if state.online:
            if self._phase is not Phase.WAITING:
                return Step.NOTHING
            self._phase = Phase.READY
            return Step.BIRTH
        if self._phase is Phase.BORN:
            return Step.LEAVE
        self._phase = Phase.WAITING
        return Step.ABSENT

    def births(self, now: Snapshot, at_ms: int) -> list[Outgoing]:
        """NBIRTH and every DBIRTH: at the beginning, and whenever a host asks for a rebirth.

        Raises:
            RuntimeError: nothing may be said yet.
        """
        if self._phase not in (Phase.READY, Phase.BORN):
            raise RuntimeError(f"no birth while {self._phase}")
        self._phase = Phase.BORN
        self._seq = 0
        self._told = {}
        own = [
            Metric(BD_SEQ, payload.DataType.INT64, self._bd_seq, at_ms),
            Metric(REBIRTH, payload.DataType.BOOLEAN, False, at_ms),
            *now.node,
        ]
        return [
            self._birth(None, own, at_ms),
            *(self._birth(device, metrics, at_ms) for device, metrics in now.devices.items()),
        ]

    def changes(self, now: Snapshot, at_ms: int) -> list[Outgoing]:
        """What is not as it was last told: data, births of new devices, deaths of those that are gone."""
        if self._phase is not Phase.BORN:
            return []
        out = self._changed(None, now.node, at_ms)
        for device in [each for each in self._told if each is not None and each not in now.devices]:
            del self._told[device]
            content = payload.device_death(seq=self._next(), at_ms=at_ms)
            out.append(Outgoing(self._names.topic("DDEATH", device), content))
        for device, metrics in now.devices.items():
            if device in self._told:
                out += self._changed(device, metrics, at_ms)
            else:
                out.append(self._birth(device, metrics, at_ms))
        return out

    def happened(
        self, device: str, metrics: Sequence[Metric], at_ms: int, *, historical: bool = False
    ) -> list[Outgoing]:
        """An event at a device: all of its metrics, changed or not. Nothing where the device is not born."""
        if self._phase is not Phase.BORN or device not in self._told:
            return []
        if not historical:
            self._told[device].update({metric.name: metric.value for metric in metrics})
        return [self._data(device, metrics, at_ms, historical)]

    def death(self, at_ms: int) -> Outgoing:
        """NDEATH, after which nothing more is said in this session. Also what a session's will holds."""
        self._phase = Phase.AWAY
        return self.will(self._bd_seq, at_ms)

    def will(self, bd_seq: int, at_ms: int) -> Outgoing:
        """What the broker says when the session with this number breaks."""
        return Outgoing(self._names.topic("NDEATH"), payload.node_death(bd_seq, at_ms), qos=1)

    def written(self, device: str | None, content: bytes) -> dict[str, Value]:
        """What a command wants written, by name. Unknown aliases are left out. Raises BadPayload."""
        names = {alias: name for name, alias in self._aliases.get(device, {}).items()}
        found = ((each.name or names.get(each.alias or 0), each.value) for each in payload.command(content))
        return {name: value for name, value in found if name is not None}

    def _birth(self, device: str | None, metrics: Sequence[Metric], at_ms: int) -> Outgoing:
        known = self._aliases.setdefault(device, {})
        for metric in metrics:
            if metric.name not in known and metric.name not in UNALIASED:
                self._last_alias += 1
                known[metric.name] = self._last_alias
        self._told[device] = {metric.name: metric.value for metric in metrics}
        content = payload.birth(metrics, known, seq=self._next(), at_ms=at_ms)
        return Outgoing(self._names.topic("NBIRTH" if device is None else "DBIRTH", device), content)

    def _changed(self, device: str | None, metrics: Sequence[Metric], at_ms: int) -> list[Outgoing]:
        told = self._told[device]
        # What no birth named is left for the next one: a host would not know it.
        changed = [each for each in metrics if each.name in told and told[each.name] != each.value]
        if not changed:
            return []
        told.update({metric.name: metric.value for metric in changed})
        return [self._data(device, changed, at_ms, False)]

    def _data(self, device: str | None, metrics: Sequence[Metric], at_ms: int, historical: bool) -> Outgoing:
        content = payload.data(
            metrics, self._aliases[device], seq=self._next(), at_ms=at_ms, historical=historical
        )
        return Outgoing(self._names.topic("NDATA" if device is None else "DDATA", device), content)

    def _next(self) -> int:
        number = self._seq
        self._seq = (number + 1) % 256
        return number
