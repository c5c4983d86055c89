"""Edge nodes to a real broker, and a host application that decodes with another implementation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from plant_broker import broker, brokers, until, wait_until
from plant_cable import relay_to
from plant_client import Subscriber, subscribe
from plant_device import ApplianceDouble, appliance, line, store

from lineside.daemon.clock import SystemClock
from lineside.daemon.reporting.backoff import Backoff
from lineside.daemon.reporting.options import Broker, MqttOptions
from lineside.daemon.sparkplug.names import Names
from lineside.daemon.sparkplug.options import SparkplugOptions
from lineside.daemon.sparkplug.reporter import SparkplugReporter
from lineside.daemon.store import Store

__all__ = ["appliance", "broker", "brokers", "line", "relay_to", "store", "subscribe", "until"]

NAMES = Names("north:filling", "box7")
OPTIONS = MqttOptions(
    brokers=(Broker("127.0.0.1", 1),),
    client_id="lineside-box7-sparkplug",
    will_at_goodbye=True,
    backoff=Backoff(first_s=0.1, longest_s=0.5),
)


@pytest.fixture
def join(appliance: ApplianceDouble, store: Store) -> Iterator[Callable[..., SparkplugReporter]]:
    """Starts edge nodes to given ports (or brokers). What they sent counts as arrived after `settle_s`."""
    opened: list[SparkplugReporter] = []

    def start(*targets: int | Broker, host: str | None = None, **changes: object) -> SparkplugReporter:
        named = tuple(each if isinstance(each, Broker) else Broker("127.0.0.1", each) for each in targets)
        mine = {
            key: changes.pop(key) for key in list(changes) if key in SparkplugOptions.__dataclass_fields__
        }
        sparkplug = replace(
            SparkplugOptions(replace(NAMES, host=host), history_per_s=1000.0),
            **mine,  # type: ignore[arg-type]
        )
        options = replace(OPTIONS, brokers=named, **changes)  # type: ignore[arg-type]
        reporter = SparkplugReporter(
            appliance,  # type: ignore[arg-type]
            store,
            SystemClock(),
            options,
            sparkplug,
            spread=lambda: 0.5,
        )
        reporter.open()
        opened.append(reporter)
        return reporter

    yield start
    for reporter in opened:
        reporter.close()


class Host:
    """A host application: everything on `spBv1.0/#`, decoded by pysparkplug with the births before it."""

    def __init__(self, client: Subscriber) -> None:
        self._client = client
        self._births: dict[str, object] = {}
        self._decoded: list[SimpleNamespace] = []
        self._seen = 0

    def messages(self, kind: str = "") -> list[SimpleNamespace]:
        """What came so far: kind, device, seq, `metrics` by name, and whether any is historical."""
        import pysparkplug

        heard = list(self._client.heard)
        for each in heard[self._seen :]:
            _, _, message, *rest = [*each.topic.split("/"), ""]
            if message not in {"NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH"}:
                continue
            device = rest[1] if message.startswith("D") else None
            form = pysparkplug.MessageType(message).payload
            found = form.decode(each.payload, birth=self._births.get(device))
            if message.endswith("BIRTH"):
                self._births[device] = found
            metrics = getattr(found, "metrics", ()) or ()
            self._decoded.append(
                SimpleNamespace(
                    kind=message,
                    device=device,
                    seq=getattr(found, "seq", None),
                    timestamp=found.timestamp,
                    metrics={metric.name: metric for metric in metrics},
                    bd_seq=found.bd_seq_metric.value if message == "NDEATH" else None,
                    heard=each,
                )
            )
        self._seen = len(heard)
        return [each for each in self._decoded if each.kind.startswith(kind)]

    @property
    def subscriptions(self) -> int:
        """How often it connected."""
        return self._client.subscriptions

    def results(self, *, historical: bool) -> list[str]:
        """The result ids that came as data."""
        return [
            each.metrics["Result/ResultId"].value
            for each in self.messages("DDATA")
            if "Result/ResultId" in each.metrics
            and bool(each.metrics["Result/ResultId"].is_historical) is historical
        ]

    def command(self, device: str | None, name: str, value: object) -> None:
        """Writes a metric, as pysparkplug encodes it, with the alias of the birth and without a name."""
        import pysparkplug

        birth = self._births[device]
        metric = next(each for each in birth.metrics if each.name == name)  # type: ignore[attr-defined]
        now = int(time.time() * 1000)
        written = replace(metric, timestamp=now, value=value)
        form = pysparkplug.NCmd if device is None else pysparkplug.DCmd
        kind = "NCMD/box7" if device is None else f"DCMD/box7/{device}"
        self.raw(kind, form(timestamp=now, metrics=(written,)).encode())

    def raw(self, kind: str, payload: bytes, *, retain: bool = False) -> None:
        """Sends bytes to a topic of the edge node."""
        self._client.send(f"spBv1.0/north:filling/{kind}", payload, retain=retain)

    def state(self, *, online: bool, timestamp: int) -> None:
        """Says whether the primary host `scada` is there; retained, as hosts do."""
        said = json.dumps({"online": online, "timestamp": timestamp}).encode()
        self._client.send("spBv1.0/STATE/scada", said, retain=True)


@pytest.fixture
def host(subscribe: Callable[..., Subscriber]) -> Callable[[int], Host]:
    """A host application on a broker's port."""
    pytest.importorskip(
        "pysparkplug", reason="not proven against another implementation: pip install pysparkplug"
    )
    return lambda port: Host(subscribe(port, "spBv1.0/#"))


@pytest.fixture
def born() -> Callable[[Host], None]:
    """Waits until an edge node with both stations was born."""
    return lambda seen: wait_until(lambda: len(seen.messages("DBIRTH")) >= 2)
