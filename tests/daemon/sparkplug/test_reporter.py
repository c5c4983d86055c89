"""A device on a real broker as a Sparkplug host sees it: another implementation decodes what it says."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.broker


def test_births_come_first_with_every_metric_its_type_and_value(broker, host, join, born, line):
    line.judge(1)
    seen = host(broker.port)
    join(broker.port)
    born(seen)
    node, first, second = seen.messages()[:3]
    assert [(each.kind, each.device, each.seq) for each in (node, first, second)] == [
        ("NBIRTH", None, 0),
        ("DBIRTH", "st1", 1),
        ("DBIRTH", "st2", 2),
    ]
    assert node.metrics["bdSeq"].value == 0
    assert node.metrics["bdSeq"].datatype.name == "INT64"
    assert node.metrics["Node Control/Rebirth"].value is False
    assert node.metrics["Node Control/Rebirth"].alias is None
    assert first.metrics["Result/ResultId"].value == line.results[0].result_id  # the present value
    assert second.metrics["Result/ResultId"].value is None  # no part yet: null, and said so
    assert first.metrics["Device Control/Recipe"].value == "cap"
    for message in (node, first, second):
        assert not message.heard.retained
        for metric in message.metrics.values():
            assert metric.datatype.name != "UNKNOWN"
            assert metric.timestamp > 0
    aliases = [
        m.alias for each in (node, first, second) for m in each.metrics.values() if m.alias is not None
    ]
    assert len(aliases) == len(set(aliases)) > 30


def test_a_result_is_data_by_alias_in_order_and_with_the_time_it_was_decided(
    broker, host, join, born, line, until
):
    seen = host(broker.port)
    join(broker.port)
    born(seen)
    line.judge(4)
    until(lambda: len(seen.results(historical=False)) == 4)
    assert seen.results(historical=False) == [each.result_id for each in line.results]
    told = [each for each in seen.messages("DDATA") if "Result/ResultId" in each.metrics]
    for message, result in zip(told, line.results, strict=True):
        assert message.device == result.draft.intake.station
        assert message.metrics["Result/ResultEvaluation"].value == result.verdict.value
        assert message.metrics["Result/PartId"].value == result.draft.intake.part_id
        assert message.metrics["Result/Sequence"].value == result.sequence
        decided = int(result.draft.decided_at.timestamp() * 1000)
        assert {metric.timestamp for metric in message.metrics.values()} == {decided}
        assert b"Result/ResultId" not in message.heard.payload  # the alias stands for the name
    assert [each.seq for each in seen.messages()] == list(range(len(seen.messages())))


def test_only_what_changed_is_told(broker, host, join, born, appliance, until):
    seen = host(broker.port)
    join(broker.port)
    born(seen)
    appliance.engine_state = "RESTARTING"
    until(lambda: seen.messages("NDATA"))
    assert [list(each.metrics) for each in seen.messages("NDATA")] == [["Health/EngineState"]]
    assert seen.messages("DDATA") == []


def test_a_rebirth_has_the_same_number_and_is_complete(broker, host, join, born, until):
    seen = host(broker.port)
    join(broker.port)
    born(seen)
    seen.command(None, "Node Control/Rebirth", True)
    until(lambda: len(seen.messages("DBIRTH")) == 4)
    first, again = seen.messages("NBIRTH")
    assert again.metrics["bdSeq"].value == first.metrics["bdSeq"].value == 0
    assert again.seq == 0
    assert list(again.metrics) == list(first.metrics)


def test_a_host_selects_a_recipe_and_hears_why_it_cannot_have_another(
    broker, host, join, born, appliance, until
):
    seen = host(broker.port)
    join(broker.port)
    born(seen)
    seen.command("st2", "Device Control/Recipe", "cap")
    until(lambda: appliance.selected == [("st2", "cap")])
    seen.command("st1", "Device Control/Recipe", "nothing")
    until(lambda: seen.messages("DDATA"))
    refusal = seen.messages("DDATA")[-1]
    assert refusal.device == "st1"
    assert "there is cap" in refusal.metrics["Device Control/Refusal"].value


def test_what_is_no_command_does_nothing_and_ends_nothing(broker, host, join, born, appliance, until):
    seen = host(broker.port)
    join(broker.port)
    born(seen)
    for kind in ("NCMD/box7", "DCMD/box7/st1", "DCMD/box7/other"):
        seen.raw(kind, b"\xff\x00 no protobuf")
        seen.raw(kind, b"")
    seen.raw("DCMD/box7/other", _select("cap"))  # no station of this name
    seen.command("st2", "Device Control/Recipe", "cap")
    until(lambda: appliance.selected == [("st2", "cap")])


def test_a_retained_command_is_not_done(broker, host, join, born, appliance, until):
    seen = host(broker.port)
    first = join(broker.port)
    born(seen)
    first.close()
    birth = seen.messages("NBIRTH")[0]
    assert birth.metrics["bdSeq"].value == 0
    seen.raw("DCMD/box7/st1", _select("cap"), retain=True)
    seen.raw("NCMD/box7", _rebirth(), retain=True)
    join(broker.port)
    until(lambda: len(seen.messages("DBIRTH")) == 4)
    seen.raw("DCMD/box7/st2", _select("cap"))
    until(lambda: appliance.selected)
    assert appliance.selected == [("st2", "cap")]
    assert len(seen.messages("NBIRTH")) == 2


def test_a_broken_connection_is_a_death_and_the_next_birth_bears_the_next_number(
    broker, relay_to, host, join, born, until
):
    seen = host(broker.port)
    relay = relay_to(broker.port)
    join(relay.port)
    born(seen)
    relay.cut()
    until(lambda: seen.messages("NDEATH"))
    assert seen.messages("NDEATH")[0].bd_seq == 0
    assert not seen.messages("NDEATH")[0].heard.retained
    relay.mend()
    until(lambda: len(seen.messages("NBIRTH")) == 2)
    assert seen.messages("NBIRTH")[1].metrics["bdSeq"].value == 1
    assert seen.messages("NBIRTH")[1].seq == 0


def test_only_connect_packets_count_not_knocking_at_a_closed_door(broker, relay_to, host, join, born, until):
    relay = relay_to(broker.port)
    seen = host(broker.port)
    reporter = join(1, relay.port)
    born(seen)
    assert "refused" in reporter.last_error
    assert seen.messages("NBIRTH")[0].metrics["bdSeq"].value == 0


def test_after_255_births_are_counted_from_0_again(broker, relay_to, host, join, born, until):
    seen = host(broker.port)
    relay = relay_to(broker.port)
    reporter = join(relay.port)
    born(seen)
    reporter._link.connect_packets = 255  # as after so many connections
    for deaths in (1, 2):
        relay.cut()
        until(lambda wanted=deaths: len(seen.messages("NDEATH")) == wanted)
        relay.mend()
        until(lambda wanted=deaths + 1: len(seen.messages("NBIRTH")) == wanted)
    assert [each.metrics["bdSeq"].value for each in seen.messages("NBIRTH")] == [0, 255, 0]


def test_a_planned_stop_says_so_and_has_the_will_spoken(broker, host, join, born, until):
    seen = host(broker.port)
    reporter = join(broker.port)
    born(seen)
    reporter.close()
    until(lambda: len(seen.messages("NDEATH")) == 2)  # our word, and the broker's at "disconnect with will"
    assert {each.bd_seq for each in seen.messages("NDEATH")} == {0}
    assert {each.seq for each in seen.messages("NDEATH")} == {None}
    assert seen.messages()[-1].kind == "NDEATH"


def test_an_old_broker_is_served_as_well(broker, host, join, born, line, until):
    from lineside.daemon.reporting.options import Broker, Protocol

    seen = host(broker.port)
    reporter = join(Broker("127.0.0.1", broker.port, protocol=Protocol.V311))
    born(seen)
    line.judge(2)
    until(lambda: len(seen.results(historical=False)) == 2)
    reporter.close()
    until(lambda: seen.messages("NDEATH"))
    assert " as lineside-box7-sparkplug (p2, c1, " in broker.log()  # MQTT 3.1.1, a clean session
    assert len(seen.messages("NDEATH")) == 1  # there, a goodbye has no will spoken: our own word must do


def _select(recipe: str) -> bytes:
    from lineside.v1 import sparkplug_pb2 as pb

    payload = pb.SparkplugPayload(timestamp=1)
    payload.metrics.add(name="Device Control/Recipe", string_value=recipe)
    return payload.SerializeToString()


def _rebirth() -> bytes:
    from lineside.v1 import sparkplug_pb2 as pb

    payload = pb.SparkplugPayload(timestamp=1)
    payload.metrics.add(name="Node Control/Rebirth", boolean_value=True)
    return payload.SerializeToString()
