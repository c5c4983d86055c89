"""A real Mosquitto that can be killed, a relay that can cut the line, the real store, an appliance double."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import selectors
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lineside.daemon.clock import SystemClock
from lineside.daemon.ports import CameraState, DeviceState, NotReady, StationState, UnknownName
from lineside.daemon.reporting.backoff import Backoff
from lineside.daemon.reporting.options import Broker, MqttOptions
from lineside.daemon.reporting.reporter import MqttReporter
from lineside.daemon.reporting.topics import Topics
from lineside.daemon.store import Store
from lineside.daemon.values import (
    AskOutcome,
    EngineRef,
    Finding,
    Intake,
    Reason,
    ReasonCode,
    RecipeRef,
    Result,
    ResultDraft,
    TriggerKind,
    Verdict,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
RECIPE = RecipeRef("cap", 2, "22" * 32)


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A broker process on a port of its own, with the same port in every life."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "mosquitto.log"

    def start(self, *lines: str) -> None:
        """Starts with further lines of configuration, and waits until it listens."""
        config = self.folder / "mosquitto.conf"
        mine = [f"listener {self.port} 127.0.0.1", "allow_anonymous true"]
        mine += ["user root"] if os.geteuid() == 0 else []
        config.write_text("\n".join([*mine, *lines]) + "\n")
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-v", "-c", str(config)], stdout=log, stderr=log)
        wait_until(self._listens)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it as a power cut would; does nothing when it is ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class Relay:
    """A piece of cable to a port: `cut` pulls it, `mend` puts it back.

    `swallow` set: what the broker says is taken and thrown away, so that acknowledgements are lost.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port = int(self._listener.getsockname()[1])
        self.swallow = False
        self.mended = True
        self.taken = 0
        self._stop = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._thread = threading.Thread(target=self._run, name="relay")
        self._thread.start()

    def cut(self) -> None:
        self.mended = False
        for pair in self._pairs:
            for end in pair:
                _shut(end)

    def mend(self) -> None:
        self.mended = True

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.cut()
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._listener.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if not self.mended:
                client.close()
                continue
            try:
                broker = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                client.close()
                continue
            self.taken += 1
            self._pairs.append((client, broker))
            threading.Thread(
                target=self._serve, args=(client, broker), name="relay-pair", daemon=True
            ).start()

    def _serve(self, client: socket.socket, broker: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, (broker, False))
            selector.register(broker, selectors.EVENT_READ, (client, True))
            while not self._stop.is_set():
                for key, _ in selector.select(0.1):
                    other, from_broker = key.data
                    try:
                        data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                        if data and not (from_broker and self.swallow):
                            other.sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        _shut(client)
                        _shut(broker)
                        return


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is shut already
        end.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Heard:
    """A message as a subscriber got it."""

    topic: str
    payload: bytes
    retained: bool
    properties: Properties | None

    @property
    def user(self) -> dict[str, str]:
        return dict(getattr(self.properties, "UserProperty", []))


class Subscriber:
    """A plant's client: hears everything, and comes back by itself when the broker does."""

    def __init__(
        self, port: int, topic: str = "#", protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
    ) -> None:
        self.heard: list[Heard] = []
        self.subscriptions = 0
        self._topic = topic
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topic, 0)
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_until(lambda: self.subscriptions)

    def send(self, topic: str, payload: bytes, *, retain: bool = False, **properties: object) -> None:
        extra = None
        if properties:
            extra = Properties(PacketTypes.PUBLISH)
            for name, value in properties.items():
                setattr(extra, name, value)
        self._client.publish(topic, payload, 1, retain, extra).wait_for_publish(60)

    def on(self, topic: str) -> list[Heard]:
        return [each for each in list(self.heard) if each.topic == topic]

    def ending(self, end: str) -> list[Heard]:
        return [each for each in list(self.heard) if each.topic.endswith(end)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribed(self, *_: object) -> None:
        self.subscriptions += 1

    def _message(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        self.heard.append(Heard(message.topic, bytes(message.payload), message.retain, message.properties))


class ApplianceDouble:
    """An appliance that takes triggers for `st1` and `st2` and notes them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.ready = True
        self.broken = False
        self.engine_state = "READY"
        self.asked: list[tuple[str, str | None, dict[str, str], TriggerKind, str | None]] = []
        self.selected: list[tuple[str, str]] = []

    def device(self) -> DeviceState:
        return DeviceState(
            device="box7",
            site="north",
            area="filling",
            line="l1",
            software_version="0.1.0",
            started_at=NOON,
            clock_synchronised=True,
            engine=EngineRef("demo", "1.0.0", "ab" * 32, "onnxruntime"),
            engine_state=self.engine_state,
            last_sequence=self._store.last_sequence(),
            outbox_depth={"mqtt": 3},
            outbox_oldest_age_s=None,
            evidence_bytes=10,
            disk_free_bytes=20,
        )

    def cameras(self) -> Sequence[CameraState]:
        return (CameraState("cam1", "file", "line.mp4", True, 5, 1, 0, 0.02, 640, 480),)

    def stations(self) -> Sequence[StationState]:
        because = () if self.ready else ("the engine is starting",)
        return tuple(
            StationState(name, ("cam1",), RECIPE, self.ready, because, 4, 3, 1, 1, 1, 1)
            for name in ("st1", "st2")
        )

    def trigger(
        self,
        station: str,
        *,
        part_id: str | None,
        expected: Mapping[str, str],
        source: TriggerKind,
        request_id: str | None = None,
    ) -> str:
        if self.broken:
            raise RuntimeError("secret: /etc/password")
        if station not in {"st1", "st2"}:
            raise UnknownName(f"no station '{station}': there are st1, st2")
        if not self.ready:
            raise NotReady("the engine is starting")
        self.asked.append((station, part_id, dict(expected), source, request_id))
        return f"result-{len(self.asked)}"

    def select_recipe(self, station: str, recipe: str) -> RecipeRef:
        if recipe != "cap":
            raise UnknownName(f"no recipe '{recipe}': there is cap")
        self.selected.append((station, recipe))
        return RECIPE


def make_draft(number: int, station: str) -> ResultDraft:
    """A verdict with something in every field."""
    verdict = list(Verdict)[number % 3]
    at = NOON + timedelta(seconds=number)
    intake = Intake(
        result_id=f"r{number:06d}",
        station=station,
        camera="cam1",
        part_id=f"p {number} ü",
        part_id_given=True,
        trigger=TriggerKind.MOTION,
        triggered_at=at,
        boot_id="boot",
        frame_index=number,
        recipe=RECIPE,
        expected={"lot": "L1"},
    )
    return ResultDraft(
        intake=intake,
        verdict=verdict,
        reasons=() if verdict is Verdict.OK else (Reason(ReasonCode.FINDING, "cracked", "cap"),),
        findings=(Finding("cap", "cracked", 0.97, True, box=(0.1, 0.2, 0.3, 0.4)),),
        outcomes=(AskOutcome("cap", "choice", "ok", 0.9, {"ok": 0.9}, ("cracked", 0.1), 0.5, (0, 0, 1, 1)),),
        engine=EngineRef("demo", "1.0.0", "ab" * 32, "onnxruntime"),
        captured_at=at,
        decided_at=at + timedelta(milliseconds=40),
        clock_synchronised=True,
        timings_ms={"engine": 31.5},
        frame_age_ms=12.0,
    )


class Line:
    """Parts that come along: stores results, numbered on, for alternating stations."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.results: list[Result] = []

    def judge(self, count: int) -> None:
        futures = []
        for number in range(len(self.results) + 1, len(self.results) + count + 1):
            draft = make_draft(number, "st1" if number % 2 else "st2")
            self._store.accept(draft.intake)
            futures.append(self._store.commit(draft))
        self.results += [future.result(60) for future in futures]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", device="box7", clock=SystemClock()) as opened:
        yield opened


@pytest.fixture
def line(store: Store) -> Line:
    return Line(store)


@pytest.fixture
def appliance(store: Store) -> ApplianceDouble:
    return ApplianceDouble(store)


@pytest.fixture
def topics() -> Topics:
    return Topics("north", "filling", "l1", "box7")


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Callable[[], Mosquitto]]:
    """Makes brokers that are not started; ends them all."""
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed: what needs a real broker was not tested")
    made: list[Mosquitto] = []

    def make() -> Mosquitto:
        folder = tmp_path / f"broker{len(made)}"
        folder.mkdir()
        made.append(Mosquitto(folder))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def broker(brokers: Callable[[], Mosquitto]) -> Mosquitto:
    """A started broker."""
    started = brokers()
    started.start()
    return started


@pytest.fixture
def relay_to() -> Iterator[Callable[[int], Relay]]:
    made: list[Relay] = []

    def make(port: int) -> Relay:
        made.append(Relay(port))
        return made[-1]

    yield make
    for relay in made:
        relay.close()


@pytest.fixture
def subscribe() -> Iterator[Callable[..., Subscriber]]:
    made: list[Subscriber] = []

    def make(*args: object, **options: object) -> Subscriber:
        made.append(Subscriber(*args, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for subscriber in made:
        subscriber.close()


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


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


class Authority:
    """A certificate authority for one test."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._sign(self._name, self._key, ca=True))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key files for `name` at 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, secret = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(self._sign(subject, key, ca=False))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, secret

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(here, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def certificates() -> type[Authority]:
    return Authority
