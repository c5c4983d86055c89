"""What was decided while nobody could hear is told afterwards, as history, and nothing is lost on the way."""

from __future__ import annotations

import pytest

from lineside.daemon.sparkplug.results import CONSUMER

pytestmark = pytest.mark.broker


def ids(line):
    return [each.result_id for each in line.results]


def test_what_was_stored_before_the_birth_is_history_in_order_and_after_it(
    broker, host, join, born, line, until
):
    line.judge(50)
    seen = host(broker.port)
    join(broker.port)
    born(seen)
    until(lambda: len(seen.results(historical=True)) == 50)
    assert seen.results(historical=True) == ids(line)
    assert seen.results(historical=False) == []
    assert [each.kind for each in seen.messages()[:3]] == ["NBIRTH", "DBIRTH", "DBIRTH"]
    past = [each for each in seen.messages("DDATA") if "Result/ResultId" in each.metrics]
    assert all(metric.is_historical for each in past for metric in each.metrics.values())


def test_history_overlaps_the_disconnect_so_that_nothing_in_flight_is_lost(
    broker, relay_to, host, join, born, line, store, until
):
    seen = host(broker.port)
    relay = relay_to(broker.port)
    join(relay.port, settle_s=3600.0)
    born(seen)
    line.judge(6)
    until(lambda: len(seen.results(historical=False)) == 6)
    assert store.depth(CONSUMER) == 6  # sent and heard; but who is to know?
    relay.cut()
    until(lambda: seen.messages("NDEATH"))
    line.judge(4)
    relay.mend()
    until(lambda: len(seen.results(historical=True)) == 10)
    assert seen.results(historical=True) == ids(line)


def test_what_a_session_outlived_is_not_sent_again(broker, relay_to, host, join, born, line, store, until):
    seen = host(broker.port)
    relay = relay_to(broker.port)
    join(relay.port, settle_s=0.0)
    born(seen)
    line.judge(6)
    until(lambda: store.depth(CONSUMER) == 0)
    relay.cut()
    until(lambda: seen.messages("NDEATH"))
    line.judge(2)
    relay.mend()
    until(lambda: len(seen.messages("NBIRTH")) == 2)
    until(lambda: store.depth(CONSUMER) == 0)
    assert seen.results(historical=True) == ids(line)[6:]


def test_after_a_planned_stop_nothing_is_sent_again(broker, host, join, born, line, store, until):
    seen = host(broker.port)
    reporter = join(broker.port, settle_s=3600.0)
    born(seen)
    line.judge(6)
    until(lambda: len(seen.results(historical=False)) == 6)
    reporter.close()
    assert store.depth(CONSUMER) == 0


def test_live_results_do_not_wait_for_history(broker, host, join, born, line, until):
    line.judge(30)
    seen = host(broker.port)
    join(broker.port, history_per_s=15.0)  # a batch of twenty holds the next one back for over a second
    born(seen)
    until(lambda: len(seen.results(historical=True)) == 20)
    line.judge(1)
    until(lambda: len(seen.results(historical=True)) == 30)
    told = [each for each in seen.messages("DDATA") if "Result/ResultId" in each.metrics]
    order = [each.metrics["Result/ResultId"].value for each in told]
    assert order.index(line.results[30].result_id) < order.index(line.results[29].result_id)


def test_a_killed_broker_loses_nothing_to_a_host_that_asks_for_a_rebirth(
    brokers, host, join, born, line, until
):
    broker = brokers()
    broker.start()
    seen = host(broker.port)
    join(broker.port, settle_s=3600.0)
    born(seen)
    line.judge(5)
    broker.kill()
    line.judge(5)
    broker.start()
    until(lambda: seen.subscriptions == 2)  # the host comes back later than the node, and has missed births
    seen.command(None, "Node Control/Rebirth", True)
    until(lambda: set(seen.results(historical=True)) | set(seen.results(historical=False)) >= set(ids(line)))
