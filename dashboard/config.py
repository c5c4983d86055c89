"""What the dashboard is told at its start: which devices, where to listen, which clock to show.

Frozen and checked before anything is opened. Knows nothing of Flask, gRPC or gunicorn.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import tzinfo

LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain"})


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
class DashboardConfig:
    """Everything the dashboard needs to start. Times in seconds.

    Attributes:
        devices: gRPC addresses of the devices to show, in the order to show them.
        listen: where browsers come in. Must be loopback: there is no login yet.
        timezone: zone of the times on screen; None takes the machine's own.
        silent_after_s: without a word for this long, a device's values grey out.
        probe_every_s: how often a device is asked for its state.
    """

    devices: tuple[Address, ...]
    listen: Address = Address("127.0.0.1", 8088)
    timezone: tzinfo | None = None
    silent_after_s: float = 8.0
    probe_every_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuses what would be unsafe or useless.

        Raises:
            RefusedConfiguration: no device, a device named twice, or an address others can reach.
        """
        if not self.devices:
            raise RefusedConfiguration(
                "no device to show: add --device HOST:PORT (the device's gRPC address)"
            )
        if len(set(self.devices)) != len(self.devices):
            raise RefusedConfiguration("a device is named twice: every --device must be another address")
        if not self.listen.is_loopback:
            raise RefusedConfiguration(
                f"refusing to listen on {self.listen}: this dashboard has no login and no TLS yet, so anyone "
                "on that network could watch the line. Listen on 127.0.0.1 and come in through an SSH tunnel "
                f"(ssh -L {self.listen.port}:127.0.0.1:{self.listen.port} THIS-MACHINE) or a reverse proxy "
                "that asks for a login over TLS."
            )
