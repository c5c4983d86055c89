"""What the dashboard refuses to start with."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.dashboard.config import Address, DashboardConfig, RefusedConfiguration, Tls

DEVICE = Address("127.0.0.1", 50051)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8088", "127.0.0.1", 8088),
        ("localhost:1", "localhost", 1),
        ("[::1]:65535", "::1", 65535),
        ("edge-07.plant:50051", "edge-07.plant", 50051),
    ],
)
def test_an_address_is_read_and_written_the_same(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (host, port) == (address.host, address.port)
    assert text == str(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8088",
        "127.0.0.1",
        ":8088",
        "127.0.0.1:",
        "h:0",
        "h:65536",
        "h:-1",
        "::1:80",
        "a b:80",
        "u@h:80",
        "h:٣",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(RefusedConfiguration):
        Address.parse(text)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", "128.0.0.1"])
def test_an_address_that_others_can_reach_is_refused_with_the_way_out(host: str) -> None:
    with pytest.raises(
        RefusedConfiguration, match=r"without TLS.*--tls-certificate.*--proxied-as.*ssh -L 8088"
    ):
        DashboardConfig(devices=(DEVICE,), listen=Address(host, 8088))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_loopback_is_accepted(host: str) -> None:
    assert host == DashboardConfig(devices=(DEVICE,), listen=Address(host, 8088)).listen.host


def test_a_device_twice_is_refused() -> None:
    with pytest.raises(RefusedConfiguration, match="twice"):
        DashboardConfig(devices=(DEVICE, DEVICE))


def test_others_may_come_in_over_tls_and_many_devices_are_asked_less_often(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("c")
    with pytest.raises(RefusedConfiguration, match=r"no such file.*k\.pem"):
        Tls(tmp_path / "c.pem", tmp_path / "k.pem")
    (tmp_path / "k.pem").write_text("k")
    config = DashboardConfig(listen=Address("0.0.0.0", 1), tls=Tls(tmp_path / "c.pem", tmp_path / "k.pem"))
    assert config.is_secure
    assert (config.probe_every(10), config.silent_after(10)) == (2.0, 8.0)
    assert config.silent_after(1000) > 3 * config.probe_every(1000) > 30
