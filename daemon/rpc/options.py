"""What the gRPC server is told: where to listen, by which keys, and its bounds.

Plaintext leaves this machine under no option: without TLS only loopback and Unix sockets are listened on.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path


class UnsafeAddress(ValueError):
    """A plaintext address that other machines can reach; the message says what to do."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With `client_ca` only clients with a certificate of it are let in (mutual TLS)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class RpcOptions:
    """The server's options. `address`: `host:port` (port 0: any free one) or `unix:/path`.

    `max_inspects` and `max_watchers` bound calls that hold a thread for long; `quick_threads` are
    kept free for all others. `heartbeat_s`: longest silence of a watch.
    """

    address: str = "127.0.0.1:50051"
    tls: TlsFiles | None = None
    max_message_bytes: int = 32 * 1024 * 1024
    max_inspects: int = 16
    max_watchers: int = 16
    max_evidence_streams: int = 8
    quick_threads: int = 8
    heartbeat_s: float = 10.0

    @property
    def threads(self) -> int:
        """Threads of the pool: every bounded call may hold one and `quick_threads` are left."""
        return self.max_inspects + self.max_watchers + self.max_evidence_streams + self.quick_threads


def check_address(options: RpcOptions) -> None:
    """Raises UnsafeAddress when plaintext would be offered to other machines."""
    if options.tls is not None or options.address.startswith(("unix:", "unix-abstract:")):
        return
    host = options.address.rpartition(":")[0].strip("[]")
    if not _is_loopback(host):
        raise UnsafeAddress(
            f"rpc address '{options.address}' can be reached from other machines and no TLS is configured: "
            "give certificate and key, or listen on 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: what it resolves to today says nothing about tomorrow
