"""Results sent once more because somebody asked: marked, slowly, behind live ones, beside the outbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from lineside.daemon.reporting.drain import CONSUMER

pytestmark = pytest.mark.broker
SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def validate(value, schema):
    Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text())).validate(value)


@pytest.fixture
def ask(topics, until):
    """Asks for a replay over the broker, and gives the answer."""

    def ask(subscriber, command):
        before = len(subscriber.on(topics.reply("replay")))
        subscriber.send(topics.command("replay"), json.dumps(command).encode())
        until(lambda: len(subscriber.on(topics.reply("replay"))) > before)
        reply = json.loads(subscriber.on(topics.reply("replay"))[-1].payload)
        validate(reply, "reply")
        return reply

    return ask


def replayed(subscriber):
    return [each for each in subscriber.ending("/verdict") if each.user.get("replay") == "true"]


def test_a_replay_is_the_same_bytes_in_order_and_marked_and_leaves_the_cursor_alone(
    broker, subscribe, report, line, store, until, ask
):
    subscriber = subscribe(broker.port)
    report(broker.port, replay_per_s=1000.0)
    line.judge(12)
    until(lambda: store.depth(CONSUMER) == 0)
    first = {each.user["result_id"]: each.payload for each in subscriber.ending("/verdict")}
    command = {"from_sequence": 3, "limit": 5}
    validate(command, "command-replay")
    assert ask(subscriber, command)["replay"] == {"from_sequence": 3, "to_sequence": 7}
    until(lambda: len(replayed(subscriber)) == 5)
    again = replayed(subscriber)
    assert [each.user["sequence"] for each in again] == ["3", "4", "5", "6", "7"]
    for each in again:
        assert each.payload == first[each.user["result_id"]]
        validate(json.loads(each.payload), "result")
    assert store.depth(CONSUMER) == 0
    line.judge(1)
    until(lambda: store.depth(CONSUMER) == 0)
    assert len(replayed(subscriber)) == 5  # not of what came later


def test_one_replay_at_a_time_and_another_when_it_is_through(
    broker, subscribe, report, line, store, until, ask
):
    subscriber = subscribe(broker.port)
    reporter = report(broker.port, replay_per_s=10.0)
    line.judge(12)
    until(lambda: store.depth(CONSUMER) == 0)
    assert ask(subscriber, {"from_sequence": 1})["ok"]
    assert ask(subscriber, {"from_sequence": 1})["error"]["code"] == "REPLAY_RUNNING"
    line.judge(1)
    until(lambda: store.depth(CONSUMER) == 0)  # live results pass it
    until(lambda: len(replayed(subscriber)) == 12)
    until(lambda: ask(subscriber, {"from_sequence": 13})["ok"])
    until(lambda: len(replayed(subscriber)) == 13)
    assert reporter.counters()["replayed"] == 13


def test_nothing_is_replayed_of_what_is_yet_to_come(broker, subscribe, report, line, store, until, ask):
    subscriber = subscribe(broker.port)
    report(broker.port)
    line.judge(2)
    until(lambda: store.depth(CONSUMER) == 0)
    assert ask(subscriber, {"from_sequence": 9})["replay"] == {"from_sequence": 9, "to_sequence": 2}
    assert ask(subscriber, {"from_sequence": 2})["ok"]  # the one before is not in its way
    until(lambda: len(replayed(subscriber)) == 1)


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"from_sequence": 0},
        {"from_sequence": "1"},
        {"from_sequence": 1, "limit": 0},
        {"from_sequence": 1, "to": 3},
    ],
)
def test_a_replay_of_nothing_sensible_is_refused(broker, subscribe, report, ask, topics, until, command):
    subscriber = subscribe(broker.port)
    report(broker.port)
    until(lambda: subscriber.on(topics.status))
    assert ask(subscriber, command)["error"]["code"] == "BAD_COMMAND"


def test_a_replay_goes_on_after_a_lost_connection(
    broker, relay_to, subscribe, report, line, store, until, ask
):
    subscriber = subscribe(broker.port)
    relay = relay_to(broker.port)
    report(relay.port, replay_per_s=20.0)
    line.judge(20)
    until(lambda: store.depth(CONSUMER) == 0)
    ask(subscriber, {"from_sequence": 1})
    until(lambda: replayed(subscriber))
    relay.cut()
    relay.mend()
    until(lambda: len({each.user["result_id"] for each in replayed(subscriber)}) == 20)
