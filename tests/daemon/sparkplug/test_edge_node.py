"""The rules of a Sparkplug session, against whatever may happen in any order."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lineside.daemon.sparkplug.edge_node import EdgeNode, Phase, Snapshot, Step
from lineside.daemon.sparkplug.names import Names
from lineside.daemon.sparkplug.payload import DataType, HostState, Metric
from lineside.v1 import sparkplug_pb2 as pb

NAMES = Names("g", "n")
values = st.integers(0, 3)
devices = st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=3)


def snapshot(own: int, each: dict[str, int], at_ms: int) -> Snapshot:
    def metrics(value: int) -> list[Metric]:
        return [
            Metric("X", DataType.INT64, value, at_ms),
            Metric("Y", DataType.STRING, None if value == 0 else str(value), at_ms),
        ]

    return Snapshot(metrics(own), {name: metrics(value) for name, value in each.items()})


def read(out) -> pb.SparkplugPayload:
    return pb.SparkplugPayload.FromString(out.payload)


class Session(RuleBasedStateMachine):
    """A host that believes what it is told, and a model of what is so: they must agree at all times."""

    def __init__(self) -> None:
        super().__init__()
        self.node = EdgeNode(Names("g", "n", "scada"))
        self.connects = 0
        self.clock = 1000
        self.said: int | None = None
        self.own, self.each = 1, {"a": 1, "b": 2}
        self.seq: int | None = None
        self.aliases: dict[int, tuple[str | None, str]] = {}
        self.believed: dict[tuple[str | None, str], object] = {}
        self.alive: set[str | None] = set()

    def hear(self, messages) -> None:
        for out in messages:
            payload = read(out)
            _, group, kind, node, *rest = out.topic.split("/")
            device = rest[0] if rest else None
            assert (group, node) == ("g", "n")
            assert (device is None) == kind.startswith("N")
            assert payload.HasField("timestamp")
            assert out.qos == (1 if kind == "NDEATH" else 0)
            if kind == "NDEATH":
                assert not payload.HasField("seq")
                assert [m.name for m in payload.metrics] == ["bdSeq"]
                assert payload.metrics[0].long_value == self.node.bd_seq
                self.alive.clear()
                continue
            expected = 0 if kind == "NBIRTH" else (self.seq + 1) % 256
            assert payload.seq == expected
            self.seq = expected
            if kind == "NBIRTH":
                self.alive, self.believed, self.aliases = {None}, {}, {}
                named = {m.name: m for m in payload.metrics}
                assert named["bdSeq"].long_value == self.node.bd_seq
                assert named["bdSeq"].datatype == DataType.INT64
                rebirth = named["Node Control/Rebirth"]
                assert rebirth.datatype == DataType.BOOLEAN
                assert rebirth.boolean_value is False
                assert not rebirth.HasField("alias")
            elif kind == "DBIRTH":
                assert None in self.alive
                self.alive.add(device)
            elif kind == "DDEATH":
                assert device in self.alive
                self.alive.discard(device)
                continue
            else:
                assert device in self.alive  # nothing is told of what is not born
            birth = kind.endswith("BIRTH")
            for metric in payload.metrics:
                assert metric.HasField("timestamp")
                assert metric.HasField("datatype") == birth
                assert metric.is_null == (metric.WhichOneof("value") is None)
                if birth and metric.HasField("alias"):
                    mine = (device, metric.name)  # a device that came back may have its old ones
                    assert self.aliases.setdefault(metric.alias, mine) == mine
                if not birth:
                    assert not metric.HasField("name")
                    assert self.aliases[metric.alias][0] == device
                if metric.is_historical:
                    continue
                key = (device, metric.name) if birth else self.aliases[metric.alias]
                which = metric.WhichOneof("value")
                self.believed[key] = None if which is None else getattr(metric, which)

    def now(self) -> Snapshot:
        self.clock += 1
        return snapshot(self.own, self.each, self.clock)

    @rule()
    def a_connection_comes_about(self) -> None:
        self.node.connected(self.connects % 256, "server")
        self.connects += 1
        assert self.node.phase is Phase.WAITING

    @rule()
    def all_is_well(self) -> None:
        """The way to most of what is worth testing, which chance alone finds too seldom."""
        self.a_connection_comes_about()
        self.the_host_speaks(True, 1)
        self.it_is_born_or_reborn()

    @rule()
    def the_connection_breaks(self) -> None:
        self.node.lost()
        self.alive.clear()

    @rule(online=st.booleans(), step=st.integers(-2, 2))
    def the_host_speaks(self, online: bool, step: int) -> None:
        timestamp = (self.said or 100) + step
        before, late = self.node.phase, self.said is not None and timestamp < self.said
        asked = self.node.host_said(HostState(online, timestamp))
        if before is Phase.AWAY or late:
            assert asked is Step.NOTHING
            assert self.node.phase is before
            return
        self.said = timestamp
        if online:
            assert asked is (Step.BIRTH if before is Phase.WAITING else Step.NOTHING)
        else:
            assert asked is (Step.LEAVE if before is Phase.BORN else Step.ABSENT)
            if asked is Step.LEAVE:
                self.hear([self.node.death(self.clock)])

    @precondition(lambda self: self.node.phase in (Phase.READY, Phase.BORN))
    @rule()
    def it_is_born_or_reborn(self) -> None:
        self.hear(self.node.births(self.now(), self.clock))
        assert self.alive == {None, *self.each}

    @precondition(lambda self: self.node.phase in (Phase.AWAY, Phase.WAITING))
    @rule()
    def nothing_is_said_before_the_host_is_there(self) -> None:
        assert self.node.changes(self.now(), self.clock) == []
        assert self.node.happened("a", self.now().node, self.clock) == []
        with pytest.raises(RuntimeError):
            self.node.births(self.now(), self.clock)

    @rule(own=values, each=devices)
    def the_world_changes(self, own: int, each: dict[str, int]) -> None:
        self.own, self.each = own, each
        self.hear(self.node.changes(self.now(), self.clock))

    @rule(device=st.sampled_from(["a", "b", "c"]), value=values, historical=st.booleans())
    def something_happens(self, device: str, value: int, historical: bool) -> None:
        if not historical and device in self.each:
            self.each = {**self.each, device: value}
        told = self.node.happened(
            device, snapshot(value, {}, self.clock).node, self.clock, historical=historical
        )
        assert (told != []) == (self.node.phase is Phase.BORN and device in self.alive)
        self.hear(told)
        assert self.node.changes(self.now(), self.clock) == []  # an event is not told a second time

    @precondition(lambda self: "a" in self.alive)
    @rule(rounds=st.integers(200, 300))
    def long_shifts_wrap_the_numbers(self, rounds: int) -> None:
        for number in range(rounds):
            self.hear(self.node.happened("a", snapshot(number % 3, {}, 1).node, 1, historical=True))

    @invariant()
    def the_host_believes_what_is_so(self) -> None:
        if self.node.phase is not Phase.BORN:
            return
        self.hear(self.node.changes(self.now(), self.clock))
        assert self.node.changes(self.now(), self.clock) == []  # the same is not told twice
        wanted = {None: self.own, **self.each}
        for device, value in wanted.items():
            assert self.believed[(device, "X")] == value
            assert self.believed[(device, "Y")] == (None if value == 0 else str(value))


TestSession = Session.TestCase
TestSession.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


@given(st.binary(max_size=200))
def test_whatever_a_host_sends_is_a_command_or_refused(content):
    from lineside.daemon.sparkplug.payload import BadPayload, host_state

    node = EdgeNode(NAMES)
    node.connected(0, "s")
    node.births(snapshot(1, {"a": 1}, 5), 5)
    for read_it in (lambda: node.written("a", content), lambda: host_state(content)):
        with contextlib.suppress(BadPayload):
            read_it()


@given(st.sampled_from(list(DataType)), st.integers(-(2**31), 2**31 - 1))
def test_numbers_of_every_type_come_back(kind, number):
    node = EdgeNode(NAMES)
    node.connected(0, "s")
    if kind in (DataType.UINT32, DataType.UINT64, DataType.DATETIME):
        number = abs(number)
    value = str(number) if kind is DataType.STRING else bool(number) if kind is DataType.BOOLEAN else number
    birth = node.births(Snapshot([Metric("M", kind, value, 1)], {}), 1)[0]
    pysparkplug = pytest.importorskip("pysparkplug", reason="not compared with another implementation")
    found = {each.name: each for each in pysparkplug.NBirth.decode(birth.payload).metrics}["M"]
    if kind is DataType.DATETIME:
        assert int(found.value.timestamp() * 1000) == pytest.approx(value, abs=1)
    else:
        assert found.value == value


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "a\n", "x" * 300])
def test_an_id_that_cannot_be_in_a_topic_is_refused(name):
    with pytest.raises(ValueError, match=r"must have|holds"):
        Names(name, "n")
    with pytest.raises(ValueError, match=r"must have|holds"):
        Names("g", name)


def test_no_group_is_where_hosts_speak():
    with pytest.raises(ValueError, match="STATE"):
        Names("STATE", "n")


def test_node_topics_name_no_device_and_device_topics_do():
    assert NAMES.topic("NBIRTH") == "spBv1.0/g/NBIRTH/n"
    assert NAMES.topic("DDATA", "st 1") == "spBv1.0/g/DDATA/n/st 1"
    for kind, device in (("NDATA", "a"), ("DDATA", None)):
        with pytest.raises(ValueError, match="not spoken"):
            NAMES.topic(kind, device)
