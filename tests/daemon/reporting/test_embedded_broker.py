"""The demonstration's broker, and with it every broker that knows MQTT 3.1.1 only."""

from __future__ import annotations

import json

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from lineside.daemon.reporting.drain import CONSUMER
from lineside.daemon.reporting.embedded_broker import EmbeddedBroker
from lineside.daemon.reporting.options import Broker, Protocol
from lineside.daemon.store.records import json_of


@pytest.fixture
def old_broker():
    broker = EmbeddedBroker()
    port = broker.open()
    yield port
    broker.close()


def test_a_broker_that_is_deaf_to_mqtt_5_is_found_out_and_gets_every_result(
    old_broker, subscribe, report, store, line, topics, until
):
    subscriber = subscribe(old_broker, protocol=MQTTProtocolVersion.MQTTv311)
    line.judge(25)
    reporter = report(old_broker, connect_timeout_s=2.0)
    until(lambda: store.depth(CONSUMER) == 0)
    until(lambda: len(subscriber.ending("/verdict")) >= 25)
    for station in ("st1", "st2"):
        heard = [each.payload.decode() for each in subscriber.on(topics.verdict(station))]
        assert heard == [json_of(each) for each in line.results if each.draft.intake.station == station]
    assert reporter._link.session().protocol is Protocol.V311


def test_commands_are_answered_on_the_reply_topic_with_their_correlation_id(
    old_broker, subscribe, report, appliance, topics, until
):
    subscriber = subscribe(old_broker, protocol=MQTTProtocolVersion.MQTTv311)
    report(Broker("127.0.0.1", old_broker, protocol=Protocol.V311))
    until(lambda: subscriber.on(topics.status))
    subscriber.send(topics.command("trigger"), b'{"station":"st1","part_id":"7","correlation_id":"c9"}')
    until(lambda: subscriber.on(topics.reply("trigger")))
    reply = json.loads(subscriber.on(topics.reply("trigger"))[0].payload)
    assert (reply["ok"], reply["result_id"], reply["correlation_id"]) == (True, "result-1", "c9")
    assert [each[:2] for each in appliance.asked] == [("st1", "7")]


def test_a_taken_port_is_an_error():
    first = EmbeddedBroker()
    port = first.open()
    try:
        with pytest.raises(OSError, match=str(port)):
            EmbeddedBroker(port).open()
    finally:
        first.close()
