"""Both dialects at once, put together from a settings file: neither gets into the other's way."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from lineside.daemon.clock import SystemClock
from lineside.daemon.plant import Alarms, reporters
from lineside.daemon.settings import load_settings

pytestmark = pytest.mark.broker

FILE = """\
device: {{id: box7, site: north, area: filling, line: l1, data_dir: data}}
cameras: [{{id: cam1, kind: folder, path: pictures}}]
stations: [{{id: st1, camera: cam1, recipe: r.yaml}}]
mqtt:
  brokers: [{{host: 127.0.0.1, port: {port}}}]
  sparkplug: {{}}
"""


def test_json_and_sparkplug_on_one_broker(
    broker, subscribe, host, born, appliance, store, line, tmp_path, until
):
    seen, heard = host(broker.port), subscribe(broker.port, "lineside/#")
    path = tmp_path / "lineside.yaml"
    path.write_text(FILE.format(port=broker.port))
    with ExitStack() as stack:
        out = reporters(load_settings(path), appliance, store, SystemClock(), 50051)
        out.open(stack)
        alarms = Alarms()
        alarms.tell(out)
        born(seen)
        line.judge(5)
        until(lambda: len(seen.results(historical=False)) == 5)
        until(lambda: store.depth("mqtt") == 0)
        assert store.depth("sparkplug") == 5  # each has a place of its own in the outbox
        assert len(heard.ending("/verdict")) == 5
        alarms.told("DISK_FULL", "no room for pictures")
        until(lambda: heard.ending("/alert") and seen.messages("NDATA"))
        told = seen.messages("NDATA")[-1].metrics
        assert (told["Alert/Code"].value, told["Alert/Message"].value) == (
            "DISK_FULL",
            "no room for pictures",
        )
        assert out.sparkplug.counters()["sparkplug_sent"] == 5
    assert store.depth("sparkplug") == 0  # a planned stop knows that all arrived
