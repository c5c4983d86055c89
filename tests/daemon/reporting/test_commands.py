"""Commands: done as asked, always answered, and nothing that arrives breaks the listener."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lineside.daemon.reporting.commands import Commands
from lineside.daemon.reporting.mqtt import Received
from lineside.daemon.store.requests import RequestReused
from lineside.daemon.values import TriggerKind

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"
REPLY = Draft202012Validator(json.loads((SCHEMAS / "reply.json").read_text()))


@pytest.fixture
def ask(appliance, topics):
    """Gives a command to the listener; its answer is checked against the schema."""
    commands = Commands(appliance, topics)

    def ask(name, payload, **how):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        received = Received(topics.command(name), body, how.pop("retained", False), **how)
        answer = commands.answer(received)
        assert answer is not None
        reply = json.loads(answer.payload)
        REPLY.validate(reply)
        return answer, reply

    return ask


def test_a_trigger_reaches_the_station_with_everything_that_was_said(ask, appliance):
    command = {"station": "st1", "part_id": "4711", "expected": {"lot": "L9"}, "request_id": "q1"}
    Draft202012Validator(json.loads((SCHEMAS / "command-trigger.json").read_text())).validate(command)
    _, reply = ask("trigger", command)
    assert reply["result_id"] == "result-1"
    assert appliance.asked == [("st1", "4711", {"lot": "L9"}, TriggerKind.MQTT, "q1")]


def test_an_id_used_for_another_part_is_answered_as_that(ask, appliance, monkeypatch):
    def reused(*_, **__):
        raise RequestReused("request_id 'q1' was used for another call already")

    monkeypatch.setattr(appliance, "trigger", reused)
    _, reply = ask("trigger", {"station": "st1", "part_id": "4712", "request_id": "q1"})
    assert reply["error"]["code"] == "REQUEST_ID_REUSED"


def test_a_recipe_is_selected(ask, appliance):
    command = {"station": "st2", "recipe": "cap"}
    Draft202012Validator(json.loads((SCHEMAS / "command-select-recipe.json").read_text())).validate(command)
    _, reply = ask("select_recipe", command)
    assert reply["recipe"] == {"name": "cap", "version": 2, "hash": "22" * 32}
    assert appliance.selected == [("st2", "cap")]


def test_the_answer_goes_where_its_sender_waits(ask, topics):
    answer, _ = ask("trigger", {"station": "st1"}, response_topic="mes/answers", correlation=b"\x00\xff")
    assert (answer.topic, answer.correlation) == ("mes/answers", b"\x00\xff")
    answer, _ = ask("trigger", {"station": "st1"})
    assert answer.topic == topics.reply("trigger")


@pytest.mark.parametrize(
    "topic",
    ["lineside/v1/north/filling/l1/box7/status", "lineside/v1/x", "a/#", "$SYS/x", "", "a\n", "x" * 1025],
)
def test_no_sender_can_have_the_device_speak_in_a_topic_that_is_not_its_to_choose(
    ask, appliance, topics, topic
):
    answer, reply = ask("trigger", {"station": "st1"}, response_topic=topic)
    assert answer.topic == topics.reply("trigger")
    assert reply["error"]["code"] == "BAD_COMMAND"
    assert appliance.asked == []


@pytest.mark.parametrize(
    ("name", "payload", "code"),
    [
        ("trigger", b"", "BAD_COMMAND"),
        ("trigger", b"\xff\xfe", "BAD_COMMAND"),
        ("trigger", b"[" * 60_000, "BAD_COMMAND"),
        ("trigger", b"x" * 70_000, "BAD_COMMAND"),
        ("trigger", {}, "BAD_COMMAND"),
        ("trigger", {"station": 1}, "BAD_COMMAND"),
        ("trigger", {"station": "st1", "part": "typo"}, "BAD_COMMAND"),
        ("trigger", {"station": "st1", "part_id": ""}, "BAD_COMMAND"),
        ("trigger", {"station": "st1", "part_id": "a\u0000"}, "BAD_COMMAND"),
        ("trigger", {"station": "st1", "expected": {"lot": 7}}, "BAD_COMMAND"),
        ("trigger", {"station": "st9"}, "UNKNOWN_NAME"),
        ("select_recipe", {"station": "st1", "recipe": "other"}, "UNKNOWN_NAME"),
        ("explode", {}, "UNKNOWN_COMMAND"),
    ],
)
def test_a_bad_command_is_answered_with_what_is_wrong_and_not_done(ask, appliance, name, payload, code):
    _, reply = ask(name, payload)
    assert reply["error"]["code"] == code
    assert appliance.asked == []


def test_a_retained_command_is_not_done(ask, appliance):
    _, reply = ask("trigger", {"station": "st1"}, retained=True)
    assert reply["error"]["code"] == "RETAINED"
    assert appliance.asked == []


def test_a_station_that_is_not_ready_says_so(ask, appliance):
    appliance.ready = False
    _, reply = ask("trigger", {"station": "st1", "correlation_id": "c"})
    assert (reply["error"]["code"], reply["correlation_id"]) == ("NOT_READY", "c")


def test_a_fault_inside_is_answered_and_tells_the_plant_nothing(ask, appliance):
    appliance.broken = True
    _, reply = ask("trigger", {"station": "st1"})
    assert reply["error"]["code"] == "INTERNAL_ERROR"
    assert "secret" not in json.dumps(reply)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
almost_commands = st.fixed_dictionaries(
    {},
    optional={
        name: json_values | st.sampled_from(["st1", "cap"])
        for name in ("station", "part_id", "expected", "request_id", "recipe", "correlation_id")
    },
).map(lambda value: json.dumps(value).encode())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.sampled_from(["trigger", "select_recipe"]) | st.text(max_size=20),
    payload=st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()) | almost_commands,
    response=st.none() | st.text(max_size=30),
    correlation=st.none() | st.binary(max_size=20),
    retained=st.booleans(),
)
def test_whatever_arrives_is_answered_or_nobodys(
    appliance, topics, name, payload, response, correlation, retained
):
    received = Received(f"{topics.base}/cmd/{name}", payload, retained, response, correlation)
    answer = Commands(appliance, topics).answer(received)
    if answer is not None:
        REPLY.validate(json.loads(answer.payload))
        assert not answer.topic.startswith(f"{topics.base}/stations")
        assert answer.topic != topics.status


@pytest.mark.broker
def test_over_a_real_broker_response_topic_and_correlation_data_come_back(
    broker, subscribe, report, appliance, topics, until
):
    client = subscribe(broker.port)
    report(broker.port)
    until(lambda: client.on(topics.status))
    client.send(
        topics.command("trigger"), b'{"station":"st2"}', ResponseTopic="mes/7", CorrelationData=b"\x01\x02"
    )
    until(lambda: client.on("mes/7"))
    reply = client.on("mes/7")[0]
    assert json.loads(reply.payload)["ok"] is True
    assert reply.properties.CorrelationData == b"\x01\x02"
    assert appliance.asked[0][0] == "st2"


@pytest.mark.broker
def test_a_retained_trigger_is_not_done_at_reconnecting(broker, subscribe, report, appliance, topics, until):
    client = subscribe(broker.port)
    client.send(topics.command("trigger"), b'{"station":"st1"}', retain=True)
    report(broker.port)
    until(lambda: client.on(topics.reply("trigger")))
    assert json.loads(client.on(topics.reply("trigger"))[0].payload)["error"]["code"] == "RETAINED"
    assert appliance.asked == []
