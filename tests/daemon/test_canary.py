"""A canary in every place where a secret may stand: a real daemon runs, and none of them sings anywhere.

Looked through are its log, every answer and error of every gRPC call, the metrics, what `lineside doctor` and
the support bundle say, and the database.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files as package_files
from pathlib import Path

import grpc
import pytest
from google.protobuf import message_factory

from lineside.daemon.pki.authority import Authority
from lineside.daemon.pki.device import DeviceKeys
from lineside.daemon.rpc.policy import RULES
from lineside.v1 import (
    cameras_pb2,
    devices_pb2,
    engines_pb2,
    inspections_pb2,
    jobs_pb2,
    recipes_pb2,
    reviews_pb2,
    stations_pb2,
)

CONTRACT = (
    cameras_pb2,
    devices_pb2,
    engines_pb2,
    inspections_pb2,
    jobs_pb2,
    recipes_pb2,
    reviews_pb2,
    stations_pb2,
)
pytestmark = pytest.mark.slow
RTSP, QUERY, BROKER = "canary-rtsp-4711", "canary-query-1234", "canary-mqtt-0815"
SETTINGS = """
device: {{id: box1, data_dir: data}}
cameras:
  - {{id: cam1, kind: stream, url: "rtsp://viewer:{rtsp}@127.0.0.1:9/live?token={query}"}}
  - {{id: hand, kind: push}}
stations:
  - {{id: st1, camera: cam1, recipe: tray.yaml}}
  - {{id: st2, camera: hand, recipe: tray.yaml, trigger: {{kind: grpc}}}}
mqtt:
  brokers: [{{host: 127.0.0.1, port: 9}}]
  username: box1
  password_file: mqtt-password
grpc: {{listen: "127.0.0.1:0", tls: {{}}, local_listen: "unix:{socket}", local_role: admin}}
metrics: {{listen: "127.0.0.1:{metrics}"}}
log: {{level: debug, format: json}}
"""
READY_S = 120.0


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = "from lineside.daemon.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class Device:
    """A device with secrets: its folder, its socket, and the log of its daemon."""

    def __init__(self, folder: Path, socket_folder: Path) -> None:
        self.folder = folder
        self.socket = socket_folder / "rpc.sock"
        self.config = folder / "lineside.yaml"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.metrics = int(free.getsockname()[1])
        self.log = folder / "daemon.log"
        recipe = (
            (package_files("lineside.daemon.demo") / "tray-check.yaml").read_text().partition("gates:")[0]
        )
        (folder / "tray.yaml").write_text(recipe.replace("camera: cam1", "camera: null"))
        (folder / "mqtt-password").write_text(BROKER)
        (folder / "mqtt-password").chmod(0o600)
        self.config.write_text(
            SETTINGS.format(rtsp=RTSP, query=QUERY, socket=self.socket, metrics=self.metrics)
        )
        self.authority = Authority.create(folder / "ca", "north", datetime.now(UTC))
        self.token = self.authority.token("box1", datetime.now(UTC))
        keys = DeviceKeys.under(folder / "data", "box1")
        keys.ensure()
        secret = self.token.partition(".")[2]
        given = self.authority.enrol(secret, "box1", keys.request_text(), datetime.now(UTC))
        keys.install(given, "https://localhost:9", datetime.now(UTC))
        self.keys = keys

    def canaries(self) -> list[str]:
        key = [line for line in self.keys.key.read_text().splitlines() if not line.startswith("-----")]
        return [RTSP, QUERY, BROKER, self.token.partition(".")[2], *key]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    # Sockets have short paths.
    made = Device(tmp_path_factory.mktemp("canary"), tmp_path_factory.mktemp("s"))
    command = "from lineside.daemon.cli import main; main()"
    with made.log.open("w") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-c", command, "daemon", "--config", str(made.config)], stdout=log, stderr=log
        )
        try:
            end = time.monotonic() + READY_S
            while "camera" not in made.log.read_text() or not made.socket.exists():
                assert daemon.poll() is None, made.log.read_text()
                assert time.monotonic() < end, made.log.read_text()
                time.sleep(0.1)
            yield made
        finally:
            daemon.terminate()
            daemon.wait(60)


def said_by_every_call(channel: grpc.Channel) -> Iterator[str]:
    """The answer or the error of every call of the contract, asked with nothing and with names that fit."""
    names = {"name": "devices/-/stations/st1", "parent": "devices/-", "station": "devices/-/stations/st1"}
    for file in CONTRACT:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                assert path in RULES
                request_class = message_factory.GetMessageClass(method.input_type)
                fields = set(method.input_type.fields_by_name)
                for given in ({}, {key: text for key, text in names.items() if key in fields}):
                    answer = ask(channel, path, method.server_streaming, request_class(**given), method)
                    yield f"{path} {answer}"


def ask(channel: grpc.Channel, path: str, streams: bool, request: object, method: object) -> str:
    answer_class = message_factory.GetMessageClass(method.output_type)  # type: ignore[attr-defined]
    codecs = {
        "request_serializer": type(request).SerializeToString,  # type: ignore[attr-defined]
        "response_deserializer": answer_class.FromString,
    }
    try:
        if streams:
            answers = channel.unary_stream(path, **codecs)(request, timeout=5)
            first = str(next(answers, ""))
            answers.cancel()
            return first
        return str(channel.unary_unary(path, **codecs)(request, timeout=20))
    except grpc.RpcError as error:
        return f"{error.code()} {error.details()} {error.trailing_metadata()}"


def test_no_secret_is_told_anywhere(device: Device, tmp_path: Path) -> None:
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"unix:{device.socket}", options=options) as channel:
        said = "\n".join(said_by_every_call(channel))
    assert "rtsp://***@127.0.0.1" in said, "the calls did not reach the cameras"
    with urllib.request.urlopen(f"http://127.0.0.1:{device.metrics}/metrics", timeout=20) as answer:
        metrics = answer.read().decode()
    places = {
        "gRPC": said,
        "metrics": metrics,
        "doctor": "".join((doctor := run("doctor", "--config", device.config)).stdout + doctor.stderr),
        "bundle": bundle_of(device, tmp_path),
        "log": device.log.read_text(),
        "database": (device.folder / "data" / "database" / "results.sqlite").read_bytes().decode("latin-1"),
    }
    for place, text in places.items():
        assert text, place
        assert [canary for canary in device.canaries() if canary in text] == [], place


def bundle_of(device: Device, tmp_path: Path) -> str:
    done = run("support-bundle", "--config", device.config, "--output", tmp_path / "bundle.tar.gz")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = tmp_path.glob("bundle*")
    with tarfile.open(found) as archive:
        parts = [archive.extractfile(member) for member in archive.getmembers() if member.isfile()]
        return "\n".join(part.read().decode() for part in parts if part is not None)


def test_secrets_lie_in_files_that_only_the_daemon_reads(device: Device) -> None:
    secret = [device.keys.key, device.folder / "ca" / "ca.key", *(device.folder / "ca" / "tokens").iterdir()]
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    texts = [path.read_text() for path in (device.folder / "ca" / "tokens").iterdir()]
    assert all(device.token.partition(".")[2] not in text for text in texts)
