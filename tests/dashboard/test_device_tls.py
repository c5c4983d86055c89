"""Devices over mutual TLS: the daemon's own server, certificates of a real authority, roles."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from lineside.daemon.clock import SystemClock
from lineside.daemon.pki import files
from lineside.daemon.pki.authority import Authority
from lineside.daemon.pki.device import DeviceKeys, Enrolment
from lineside.daemon.pki.identity import Identity
from lineside.daemon.rpc.options import RpcOptions, TlsFiles
from lineside.daemon.rpc.server import RpcServer
from lineside.daemon.store import Store
from lineside.dashboard.commands import dashboard
from lineside.dashboard.config import Address, DeviceTls
from lineside.dashboard.devices.channel import Channel
from lineside.dashboard.devices.steering import steering
from lineside.v1 import engines_pb2
from lineside.v1.client import Failed


def rooms_of_the_daemon() -> Any:
    """The appliance double of the daemon's own tests: test folders are no packages."""
    name = "daemon_rpc_rooms"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "daemon" / "rpc" / "conftest.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


class Fleet:
    """An authority, and whoever it gives certificates to."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.authority = Authority.create(self.folder / "ca", name, datetime.now(UTC))

    def keys(self, kind: str, name: str) -> DeviceKeys:
        keys = DeviceKeys(self.folder / f"{kind}-{name}", name)
        keys.ensure()
        names = ["127.0.0.1", name] if kind == "device" else []
        request = files.request_in(keys.request_text())
        leaf = self.authority.sign(
            request, Identity(self.authority.fleet, kind, name), datetime.now(UTC), names=names
        )
        own = files.pem(self.authority.certificate).decode()
        keys.install(
            Enrolment(files.pem(leaf).decode() + own, own, self.authority.fleet), "", datetime.now(UTC)
        )
        return keys

    def dashboard(self, role: str) -> DeviceTls:
        keys = self.keys(role, "dashboard")
        return DeviceTls(keys.key, keys.certificate, keys.authority)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, "north")


@pytest.fixture
def device(fleet: Fleet, tmp_path: Path) -> Iterator[Address]:
    """The daemon's gRPC server, which lets in nobody without a certificate of its fleet."""
    rooms = rooms_of_the_daemon()
    keys = fleet.keys("device", "box7")
    tls = TlsFiles(keys.certificate, keys.key, keys.authority)
    options = RpcOptions(address="127.0.0.1:0", tls=tls, rate_per_s=1e6, rate_burst=1e6)
    with Store.open(tmp_path / "store", device="box7", clock=SystemClock()) as store:
        results = rooms.Shelf(store, tmp_path)
        appliance = rooms.ApplianceDouble(results)
        server = RpcServer(appliance, results.reader, SystemClock(), options, results.desks)
        yield Address("127.0.0.1", server.open())
        server.close(grace_s=0.2)


def refusal(address: Address, tls: DeviceTls | None) -> grpc.StatusCode:
    channel = Channel(address, tls)
    channel.open()
    try:
        with pytest.raises(grpc.RpcError) as refused:
            channel.device()
        return refused.value.code()
    finally:
        channel.close()


def test_with_its_certificate_the_dashboard_is_let_in_and_its_role_decides_what_it_may(
    device: Address, fleet: Fleet
) -> None:
    for role in ("viewer", "admin"):
        tls = fleet.dashboard(role)
        channel = Channel(device, tls)
        channel.open()
        assert channel.device().device == "box7"
        channel.close()
        with steering(device, tls) as client:
            announce = engines_pb2.CreateEngineUploadRequest(sha256="a" * 64, size_bytes=10)
            if role == "admin":
                client.call(client.engines.CreateEngineUpload, announce)
            else:
                with pytest.raises(Failed) as refused:
                    client.call(client.engines.CreateEngineUpload, announce)
                assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED


def test_without_a_certificate_or_with_one_of_another_fleet_it_is_not(
    device: Address, fleet: Fleet, tmp_path: Path
) -> None:
    other, own = Fleet(tmp_path, "south").dashboard("admin"), fleet.dashboard("admin")
    assert refusal(device, None) is grpc.StatusCode.UNAVAILABLE
    # It knows the device, and the device does not know it.
    assert (
        refusal(device, DeviceTls(other.key, other.certificate, own.authority)) is grpc.StatusCode.UNAVAILABLE
    )
    # The device may be anybody: the dashboard does not talk to it.
    assert (
        refusal(device, DeviceTls(own.key, own.certificate, other.authority)) is grpc.StatusCode.UNAVAILABLE
    )


def test_the_three_files_are_given_together_and_must_be_there(tmp_path: Path, fleet: Fleet) -> None:
    tls = fleet.dashboard("viewer")
    database = f"sqlite:///{tmp_path / 'd.db'}"

    def refused(*words: str) -> str:
        ended = CliRunner().invoke(dashboard, ["--database", database, *words])
        assert ended.exit_code == 3
        return ended.output

    assert "give all three" in refused("--device-key", str(tls.key))
    missing = ["--device-certificate", str(tls.certificate), "--device-authority", str(tmp_path / "none.crt")]
    assert "no such file" in refused("--device-key", str(tls.key), *missing)
