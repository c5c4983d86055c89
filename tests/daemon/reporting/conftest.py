"""Reporters to a real broker, over a real store; the fixtures are in `tests/daemon/plant`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from plant_authority import certificates
from plant_broker import broker, brokers, until
from plant_cable import relay_to
from plant_client import subscribe
from plant_device import ApplianceDouble, appliance, line, store

from lineside.daemon.clock import SystemClock
from lineside.daemon.reporting.backoff import Backoff
from lineside.daemon.reporting.options import Broker, MqttOptions
from lineside.daemon.reporting.reporter import MqttReporter
from lineside.daemon.reporting.topics import Topics
from lineside.daemon.store import Store

__all__ = [
    "appliance",
    "broker",
    "brokers",
    "certificates",
    "line",
    "relay_to",
    "store",
    "subscribe",
    "until",
]


@pytest.fixture
def topics() -> Topics:
    return Topics("north", "filling", "l1", "box7")


OPTIONS = MqttOptions(
    brokers=(Broker("127.0.0.1", 1),),
    client_id="lineside-box7",
    metrics_every_s=1.0,
    backoff=Backoff(first_s=0.1, longest_s=0.5),
    rpc_address="127.0.0.1:50051",
)


@pytest.fixture
def report(appliance: ApplianceDouble, store: Store, topics: Topics) -> Iterator[Callable[..., MqttReporter]]:
    """Starts reporters to given ports (or brokers)."""
    opened: list[MqttReporter] = []

    def start(*targets: int | Broker, **changes: object) -> MqttReporter:
        named = tuple(each if isinstance(each, Broker) else Broker("127.0.0.1", each) for each in targets)
        options = replace(OPTIONS, brokers=named, **changes)  # type: ignore[arg-type]
        reporter = MqttReporter(appliance, store, topics, SystemClock(), options, spread=lambda: 0.5)  # type: ignore[arg-type]
        reporter.open()
        opened.append(reporter)
        return reporter

    yield start
    for reporter in opened:
        reporter.close()
