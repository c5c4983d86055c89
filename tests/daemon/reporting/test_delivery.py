"""No stored result is lost on its way to the plant, whatever the broker and the network do.

Every test uses a real broker and the real store; a result is delivered when a subscriber that knows
nothing of us has it.
"""

from __future__ import annotations

import signal

import pytest

from lineside.daemon.reporting.drain import CONSUMER
from lineside.daemon.reporting.options import Broker, Protocol
from lineside.daemon.store.records import json_of

pytestmark = pytest.mark.broker


def check_all_arrived(subscriber, results):
    """At least once each, per station in order of first arrival, doubles byte for byte the same."""
    heard = subscriber.ending("/verdict")
    stored = {result.result_id: json_of(result).encode() for result in results}
    first: dict[str, list[str]] = {}
    seen: set[str] = set()
    for each in heard:
        result_id = each.user["result_id"]
        assert each.payload == stored[result_id]
        if result_id not in seen:
            first.setdefault(each.topic, []).append(result_id)
            seen.add(result_id)
    assert seen == set(stored)
    assert all(ids == sorted(ids) for ids in first.values())


def has_all(subscriber, count):
    return len({each.user["result_id"] for each in subscriber.ending("/verdict")}) >= count


def test_every_result_arrives_as_the_stored_record_with_its_properties(
    broker, subscribe, report, store, line, topics, until
):
    subscriber = subscribe(broker.port)
    report(broker.port)
    line.judge(7)
    until(lambda: has_all(subscriber, 7))
    check_all_arrived(subscriber, line.results)
    one, result = subscriber.on(topics.verdict("st1"))[0], line.results[0]
    assert one.user == {
        "schema": "lineside.result/1",
        "result_id": result.result_id,
        "sequence": "1",
        "row_hash": result.row_hash,
    }
    assert one.properties.ContentType == "application/json"
    assert one.properties.PayloadFormatIndicator == 1
    assert not hasattr(one.properties, "MessageExpiryInterval")
    assert not one.retained
    until(lambda: store.depth(CONSUMER) == 0)
    assert len(subscriber.ending("/verdict")) == 7


def test_what_was_stored_while_there_was_no_broker_arrives_when_there_is_one(
    brokers, relay_to, subscribe, report, store, line, until
):
    broker = brokers()
    relay = relay_to(broker.port)
    reporter = report(relay.port)
    line.judge(60)
    until(lambda: reporter.last_error)
    assert store.depth(CONSUMER) == 60
    relay.cut()
    broker.start()
    subscriber = subscribe(broker.port)
    relay.mend()
    until(lambda: has_all(subscriber, 60))
    check_all_arrived(subscriber, line.results)
    until(lambda: store.depth(CONSUMER) == 0)


@pytest.mark.parametrize("persistence", [False, True])
def test_a_broker_killed_in_the_middle_loses_nothing(
    brokers, relay_to, subscribe, report, store, line, until, persistence
):
    broker = brokers()
    settings = (
        (
            "persistence true",
            f"persistence_location {broker.folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
        )
        if persistence
        else ()
    )
    broker.start(*settings)
    subscriber = subscribe(broker.port)
    relay = relay_to(broker.port)
    line.judge(150)
    reporter = report(relay.port, in_flight=5)
    for life in range(3):
        until(lambda life=life: has_all(subscriber, 20 + 30 * life))
        # The cable goes with the broker, so that our client is not back before the subscriber is:
        # what a broker takes when nobody listens is not ours to lose.
        relay.mended = False
        broker.kill()
        before = subscriber.subscriptions
        line.judge(30)
        broker.start(*settings)
        until(lambda before=before: subscriber.subscriptions > before)
        relay.mend()
    until(lambda: has_all(subscriber, 240))
    check_all_arrived(subscriber, line.results)
    until(lambda: store.depth(CONSUMER) == 0)
    assert reporter.counters()["connects"] >= 4


def test_lost_acknowledgements_cost_doubles_and_no_results(
    broker, relay_to, subscribe, report, store, line, until
):
    subscriber = subscribe(broker.port)
    relay = relay_to(broker.port)
    reporter = report(relay.port)
    line.judge(3)
    until(lambda: store.depth(CONSUMER) == 0)
    relay.swallow = True
    line.judge(4)
    until(lambda: has_all(subscriber, 7))
    assert store.depth(CONSUMER) == 4
    relay.cut()
    relay.swallow = False
    relay.mend()
    until(lambda: store.depth(CONSUMER) == 0)
    until(lambda: len(subscriber.ending("/verdict")) == 11)
    check_all_arrived(subscriber, line.results)
    assert reporter.counters()["acknowledged"] == 7


def test_a_broker_that_hangs_is_left_for_the_next_one_and_nothing_is_lost(
    brokers, subscribe, report, store, line, until
):
    first, second = brokers(), brokers()
    first.start()
    second.start()
    reporter = report(first.port, second.port, ack_timeout_s=2.0, connect_timeout_s=2.0)
    line.judge(5)
    until(lambda: store.depth(CONSUMER) == 0)
    subscriber = subscribe(second.port)
    first.signal(signal.SIGSTOP)
    line.judge(20)
    until(lambda: has_all(subscriber, 20))
    check_all_arrived(subscriber, line.results[5:])
    until(lambda: store.depth(CONSUMER) == 0)
    assert reporter.counters()["lost_sessions"] >= 1


def test_a_small_window_of_the_broker_is_kept(brokers, subscribe, report, store, line, until):
    broker = brokers()
    broker.start("max_inflight_messages 3")
    subscriber = subscribe(broker.port)
    reporter = report(broker.port, in_flight=20)
    line.judge(100)
    until(lambda: has_all(subscriber, 100))
    until(lambda: store.depth(CONSUMER) == 0)
    check_all_arrived(subscriber, line.results)
    session = reporter._link.session()
    assert session is not None
    assert session.in_flight_limit == 3
    assert reporter.counters()["connects"] == 1  # a broker ends a session that oversteps its window


def test_a_refused_result_stays_in_the_outbox_is_told_of_and_arrives_once_allowed(
    brokers, subscribe, report, store, line, topics, until
):
    broker = brokers()
    acl = broker.folder / "acl"
    rest = "topic readwrite lineside/#\n"
    acl.write_text(f"topic deny {topics.verdict('st2')}\n{rest}")
    broker.start(f"acl_file {acl}")
    subscriber = subscribe(broker.port, topics.base + "/#")
    reporter = report(broker.port)
    line.judge(1)
    until(lambda: has_all(subscriber, 1))
    line.judge(1)  # for st2
    until(lambda: reporter.counters()["refused"] >= 2)
    assert store.depth(CONSUMER) == 1
    until(lambda: subscriber.on(topics.alert))
    assert b"MQTT_REFUSED" in subscriber.on(topics.alert)[0].payload
    acl.write_text(rest)
    broker.signal(signal.SIGHUP)
    until(lambda: store.depth(CONSUMER) == 0)


def test_a_restarted_device_goes_on_where_the_last_one_was_acknowledged(
    broker, subscribe, report, store, line, until
):
    subscriber = subscribe(broker.port)
    first = report(broker.port)
    line.judge(10)
    until(lambda: store.depth(CONSUMER) == 0)
    first.close()
    line.judge(10)
    report(broker.port)
    until(lambda: has_all(subscriber, 20))
    until(lambda: store.depth(CONSUMER) == 0)
    assert len(subscriber.ending("/verdict")) == 20


@pytest.mark.parametrize("protocol", [Protocol.V311, Protocol.V5])
def test_a_protocol_may_be_prescribed(broker, subscribe, report, line, until, protocol):
    subscriber = subscribe(broker.port)
    reporter = report(Broker("127.0.0.1", broker.port, protocol=protocol))
    line.judge(2)
    until(lambda: len(subscriber.ending("/verdict")) == 2)
    assert [bool(each.user) for each in subscriber.ending("/verdict")] == [protocol is Protocol.V5] * 2
    assert reporter._link.session().protocol is protocol
