"""What the dashboard is told at its start: which devices, where it keeps what it knows, where to listen.

Frozen and checked before anything is opened. Knows nothing of Flask, gRPC or gunicorn.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain"})
MOST_PROBES_A_SECOND = 60


class RefusedConfiguration(ValueError):
    """A setting that the dashboard will not start with; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port. `host` is a name or an IP address without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `HOST:PORT` or `[IPV6]:PORT`.

        Raises:
            RefusedConfiguration: no port, no host, or a port outside 1-65535.
        """
        host, colon, port = text.strip().rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise RefusedConfiguration(f"'{text}': write an IPv6 address in brackets, as in [::1]:8088")
        if not colon or not host or any(c.isspace() or c in "/@?#" for c in host):
            raise RefusedConfiguration(f"'{text}' is not HOST:PORT, as in 127.0.0.1:8088")
        if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise RefusedConfiguration(f"'{text}': the port must be a number from 1 to 65535")
        return cls(host, int(port))

    def __str__(self) -> str:
        """`HOST:PORT`, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. A name other than localhost counts as reachable."""
        if self.host.lower() in LOCAL_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Tls:
    """The server's certificate chain and its key, PEM."""

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        """Raises RefusedConfiguration for a file that is not there."""
        for path in (self.certificate, self.key):
            if not path.is_file():
                raise RefusedConfiguration(f"no such file: {path}")


@dataclass(frozen=True, slots=True)
class DeviceTls:
    """How devices know this dashboard, and it them: its key, its certificate, the fleet's authority.

    PEM files; the certificate holds the role that devices give it (`lineside enroll`, docs/security.md). Read
    anew whenever a channel is opened.
    """

    key: Path
    certificate: Path
    authority: Path

    def __post_init__(self) -> None:
        """Raises RefusedConfiguration for a file that is not there."""
        for path in (self.key, self.certificate, self.authority):
            if not path.is_file():
                raise RefusedConfiguration(f"no such file: {path}")


@dataclass(frozen=True, slots=True)
class DashboardConfig:
    """Everything the dashboard needs to start. Times in seconds.

    Attributes:
        devices: gRPC addresses of the devices to follow.
        broker: the plant's MQTT broker, on which more devices are found.
        database: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        device_tls: how devices are spoken to. None: in plain text, which they offer on loopback only.
        bundles: folder of the uploaded engine bundles, the same for pages and follower. None: no uploads.
        listen: where browsers come in. Without TLS or a proxy: loopback only.
        tls: the certificate to serve by itself.
        proxied_as: the name under which a proxy with TLS, on this machine, shows the dashboard.
        alert_channels: the file that names where alerts are told. None: on the page alone.
        workers: processes that draw pages.
        timezone: zone of the times on screen and of shifts; None takes the machine's own.
        shifts: name and local time of the beginning of each shift.
        sample_ok: share of OK parts that people are asked to look at, 0 to 1.
        silent_after_s: without a word for this long, a device's values grey out.
        probe_every_s: how often a device is asked for its state.
    """

    devices: tuple[Address, ...] = ()
    broker: Address | None = None
    database: str = ""
    device_tls: DeviceTls | None = None
    bundles: Path | None = None
    listen: Address = Address("127.0.0.1", 8088)
    tls: Tls | None = None
    proxied_as: str | None = None
    alert_channels: Path | None = None
    workers: int = 2
    timezone: tzinfo | None = None
    shifts: tuple[tuple[str, str], ...] = (("early", "06:00"), ("late", "14:00"), ("night", "22:00"))
    sample_ok: float = 0.01
    silent_after_s: float = 8.0
    probe_every_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuses what would be unsafe or useless.

        Raises:
            RefusedConfiguration: a device named twice, or an address others can reach without TLS.
        """
        if len(set(self.devices)) != len(self.devices):
            raise RefusedConfiguration("a device is named twice: every --device must be another address")
        if not 1 <= self.workers <= 64:
            raise RefusedConfiguration("between 1 and 64 --workers")
        if not self.listen.is_loopback and self.tls is None:
            raise RefusedConfiguration(
                f"refusing to listen on {self.listen}: without TLS passwords and pictures would cross the "
                "network in plain sight. Give --tls-certificate and --tls-key; or listen on 127.0.0.1 behind "
                "a proxy that does TLS (--proxied-as NAME); or come in through an SSH tunnel "
                f"(ssh -L {self.listen.port}:127.0.0.1:{self.listen.port} THIS-MACHINE)."
            )

    @property
    def url(self) -> str:
        """Where browsers find it, with a slash at the end."""
        if self.proxied_as is not None:
            return f"https://{self.proxied_as}/"
        return f"{'https' if self.tls is not None else 'http'}://{self.listen}/"

    @property
    def is_secure(self) -> bool:
        """Whether browsers come in over TLS."""
        return self.tls is not None or self.proxied_as is not None

    def probe_every(self, devices: int) -> float:
        """Seconds between two questions to one of so many devices: many are asked less often."""
        return max(self.probe_every_s, devices / MOST_PROBES_A_SECOND)

    def silent_after(self, devices: int) -> float:
        """Seconds without a word after which one of so many devices is grey: it missed three questions."""
        return (
            max(self.silent_after_s, 3.5 * self.probe_every(devices))
            if devices > 100
            else self.silent_after_s
        )
