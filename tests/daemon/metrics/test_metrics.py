"""What is served is what `docs/metrics.md` lists, and its numbers are those of the parts that were judged."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from lineside.daemon.clock import SystemClock
from lineside.daemon.composition import Running, running
from lineside.daemon.metrics.families import gauge
from lineside.daemon.metrics.latency import BUCKETS_S, Latency
from lineside.daemon.metrics.server import MetricsAddressTaken, MetricsServer
from lineside.daemon.ports import NotReady
from lineside.daemon.settings import Settings
from lineside.daemon.values import TriggerKind

WAIT_S = 120.0
DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(lineside_\w+)` \| (\w+) \|(.*?)\| .+ \|$", re.M)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An appliance whose broker is away, with one part judged and one trigger refused."""
    folder = tmp_path_factory.mktemp("appliance")
    recipe = (files("lineside.daemon.demo") / "tray-check.yaml").read_text().partition("gates:")[0]
    (folder / "tray.yaml").write_text(recipe.replace("camera: cam1", "camera: null"))
    with socket.socket() as away:
        away.bind(("127.0.0.1", 0))
        settings = Settings.model_validate(
            {
                "device": {"id": "box1", "data_dir": str(folder / "data")},
                "engine": {"threads": 1},
                "cameras": [{"id": "hand", "kind": "push"}],
                "stations": [
                    {
                        "id": "st1",
                        "camera": "hand",
                        "recipe": str(folder / "tray.yaml"),
                        "trigger": {"kind": "grpc"},
                    }
                ],
                "outputs": [{"id": "gate", "station": "st1", "kind": "file", "path": str(folder / "gate")}],
                "grpc": {"listen": "127.0.0.1:0"},
                "metrics": {"listen": "127.0.0.1:0"},
                "mqtt": {
                    "brokers": [{"host": "127.0.0.1", "port": away.getsockname()[1]}],
                    "sparkplug": {},
                },
            }
        )
        with running(settings, SystemClock(), threading.Event()) as appliance:
            with pytest.raises(NotReady):
                appliance.appliance.trigger("st1", part_id=None, expected={}, source=TriggerKind.GRPC)
            grey = np.full((540, 960, 3), 60, np.uint8)
            result_id = appliance.appliance.inspect_picture("st1", grey, part_id=None, expected={})
            assert appliance.appliance.wait_for(result_id, WAIT_S) is not None
            appliance.appliance.push_frame("hand", grey)
            pause = threading.Event()
            while appliance.appliance.newest_frame("hand") is None:
                assert not pause.wait(0.02)
            yield appliance


@pytest.fixture(scope="module")
def served(built: Running) -> dict[str, Metric]:
    """Name as documented → family, as a scraper reads them."""
    text = scrape(built.metrics_port)
    families = text_string_to_metric_families(text)
    return {f"{one.name}_total" if one.type == "counter" else one.name: one for one in families}


def scrape(port: int | None) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT_S) as answer:
        return answer.read().decode()


def value(served: dict[str, Metric], name: str, **labels: str) -> float:
    (sample,) = [one for one in served[name].samples if one.labels == labels]
    return sample.value


def test_what_is_served_is_what_is_documented(served: dict[str, Metric]) -> None:
    documented = {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(DOCS.read_text())
    }
    assert {name: family.type for name, family in served.items()} == {
        name: kind for name, (kind, _) in documented.items()
    }
    assert {family.name for family in served.values() if not family.samples} == set()
    labels = {
        name: frozenset(label for sample in family.samples for label in sample.labels if label != "le")
        for name, family in served.items()
    }
    assert labels == {name: labels for name, (_, labels) in documented.items()}


def test_the_numbers_are_those_of_what_happened(served: dict[str, Metric]) -> None:
    assert value(served, "lineside_triggers_total", station="st1") == 1
    assert value(served, "lineside_triggers_missed_total", station="st1") == 1
    assert value(served, "lineside_verdicts_total", station="st1", verdict="NOT_DECIDABLE") == 1
    assert value(served, "lineside_verdicts_total", station="st1", verdict="OK") == 0
    assert value(served, "lineside_parts_pending", station="st1") == 0
    assert value(served, "lineside_camera_frames_total", camera="hand") == 1
    assert value(served, "lineside_outbox_depth", consumer="mqtt") == 1
    assert value(served, "lineside_outbox_depth", consumer="sparkplug") == 1
    assert value(served, "lineside_mqtt_connected") == 0
    assert value(served, "lineside_sparkplug_connected") == 0
    assert value(served, "lineside_engine_ready") == 1
    assert value(served, "lineside_results_last_sequence") == 1


def test_every_judged_part_is_in_the_histogram(served: dict[str, Metric]) -> None:
    whole = [s for s in served["lineside_stage_seconds"].samples if s.labels["stage"] == "trigger_to_verdict"]
    by_name = {sample.name: sample.value for sample in whole}

    assert by_name["lineside_stage_seconds_count"] == 1
    assert by_name["lineside_stage_seconds_sum"] > 0
    buckets = [sample for sample in whole if sample.name.endswith("_bucket")]
    assert [sample.value for sample in buckets] == sorted(sample.value for sample in buckets)
    assert buckets[-1].labels["le"] == "+Inf"
    assert len(buckets) == len(BUCKETS_S) + 1


def test_the_histogram_sorts_times_into_the_right_buckets() -> None:
    latency = Latency()
    committed = []

    class Draft:
        timings_ms = {"prefill": 1.0, "decode": 3.0}  # noqa: RUF012

    commit = latency.observing(
        lambda draft, images, *, keep_until=None: committed.append((images, keep_until))
    )
    commit(Draft(), (), keep_until=7)
    commit(Draft(), (b"",))

    found = {
        sample.labels["le"]: sample.value
        for sample in latency.family().samples
        if sample.labels["stage"] == "prefill" and sample.name.endswith("_bucket")
    }
    assert committed == [((), 7), ((b"",), None)]
    assert (found["0.001"], found["+Inf"]) == (2, 2)
    decode = [s for s in latency.family().samples if s.labels == {"stage": "decode", "le": "0.0025"}]
    assert [sample.value for sample in decode] == [0]


def test_a_group_that_cannot_be_read_leaves_the_others_their_say() -> None:
    def broken() -> list[Metric]:
        raise OSError("the disk is gone")

    server = MetricsServer("127.0.0.1:0", {"store": broken, "cameras": lambda: [gauge("seen", "x", {(): 1})]})
    port = server.open()
    try:
        text = scrape(port)
    finally:
        server.close()

    assert "lineside_seen 1.0" in text
    assert 'lineside_metrics_readable{group="store"} 0.0' in text
    assert 'lineside_metrics_readable{group="cameras"} 1.0' in text


def test_an_address_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(MetricsAddressTaken, match=address):
            MetricsServer(address, {}).open()


def test_the_endpoint_ends_when_it_is_closed() -> None:
    before = set(threading.enumerate())
    server = MetricsServer("127.0.0.1:0", {})
    port = server.open()
    server.close()
    server.close()

    assert [thread.name for thread in set(threading.enumerate()) - before] == []
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 5):  # noqa: PT011
        pass
