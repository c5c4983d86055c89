"""An edge node that waits for its primary host, and leaves a server where the host is not."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.broker


def test_nothing_is_born_before_the_host_is_there(broker, host, join, born, line, until):
    seen = host(broker.port)
    seen.state(online=False, timestamp=100)
    reporter = join(broker.port, host="scada")
    line.judge(2)
    until(lambda: reporter.link_state == "CONNECTED")
    time.sleep(0.5)
    assert seen.messages() == []
    seen.state(online=True, timestamp=200)
    born(seen)
    until(lambda: len(seen.results(historical=True)) == 2)


def test_another_host_is_not_waited_for_and_nonsense_is_not_a_host(broker, host, join, born, until):
    seen = host(broker.port)
    for said in (b"ONLINE", b"{}", b'{"online":1,"timestamp":5}', b'{"online":true}', b"\xff", b"[" * 9000):
        seen._client.send("spBv1.0/STATE/scada", said)
    seen._client.send("spBv1.0/STATE/other", b'{"online":true,"timestamp":5}', retain=True)
    reporter = join(broker.port, host="scada")
    until(lambda: reporter.link_state == "CONNECTED")
    for said in (b"ONLINE", b"{}", b'{"online":1,"timestamp":5}', b'{"online":true}', b"\xff", b"[" * 9000):
        seen._client.send("spBv1.0/STATE/scada", said)
    time.sleep(0.5)
    assert seen.messages() == []
    seen.state(online=True, timestamp=1)
    born(seen)


def test_when_the_host_goes_the_node_dies_and_is_born_again_when_it_returns(
    broker, host, join, born, line, until
):
    seen = host(broker.port)
    seen.state(online=True, timestamp=100)
    join(broker.port, host="scada", settle_s=3600.0)
    born(seen)
    line.judge(1)
    until(lambda: len(seen.results(historical=False)) == 1)
    seen.state(online=False, timestamp=99)  # a late word of an earlier session
    line.judge(1)
    until(lambda: len(seen.results(historical=False)) == 2)
    assert seen.messages("NDEATH") == []
    seen.state(online=False, timestamp=100)
    until(lambda: seen.messages("NDEATH"))
    line.judge(1)
    time.sleep(0.5)
    assert len(seen.messages("NBIRTH")) == 1
    seen.state(online=True, timestamp=300)
    until(lambda: len(seen.messages("NBIRTH")) == 2)
    until(lambda: len(seen.results(historical=True)) == 3)  # what the host may have missed, and the rest
    death, birth = seen.messages("NDEATH")[-1], seen.messages("NBIRTH")[-1]
    assert (death.bd_seq, birth.metrics["bdSeq"].value)[0] < birth.metrics["bdSeq"].value


def test_the_node_walks_to_the_server_where_the_host_is(brokers, host, join, born, until):
    first, second = brokers(), brokers()
    first.start()
    second.start()
    here, there = host(first.port), host(second.port)
    here.state(online=True, timestamp=1000)
    there.state(online=True, timestamp=10)  # times are counted for each server on its own
    join(first.port, second.port, host="scada")
    born(here)
    assert there.messages() == []
    here.state(online=False, timestamp=1000)
    born(there)
    until(lambda: here.messages("NDEATH"))
    assert there.messages("NBIRTH")[0].metrics["bdSeq"].value == 1


def test_a_server_that_never_hears_of_the_host_is_left_after_a_while(brokers, host, join, born):
    first, second = brokers(), brokers()
    first.start()
    second.start()
    there = host(second.port)
    there.state(online=True, timestamp=10)
    join(first.port, second.port, host="scada", host_wait_s=0.3)
    born(there)
