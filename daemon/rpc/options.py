"""What the gRPC server is told: where to listen, by which keys, and its bounds.

Plaintext leaves this machine under no option: without TLS only loopback and Unix sockets are listened on.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from lineside.daemon.pki.identity import Role


class UnsafeAddress(ValueError):
    """A plaintext address that other machines can reach; the message says what to do."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. Only clients with a certificate of `client_ca` are let in (mutual TLS)."""

    certificate: Path
    key: Path
    client_ca: Path


@dataclass(frozen=True, slots=True)
class RpcOptions:
    """The server's options. `address`: `host:port` (port 0: any free one) or `unix:/path`.

    `local_address`: a second address, without TLS, for processes of this machine, with `local_role` (as has
    `address` when there is no `tls`). `max_inspects` and `max_watchers` bound calls that hold a thread long;
    `quick_threads` are kept free for all others. `heartbeat_s`: longest silence of a watch. `rate_per_s` and
    `rate_burst`: calls of one caller. `max_connection_age_s`: then a client connects anew, and its
    certificate is looked at again.
    """

    address: str = "127.0.0.1:50051"
    tls: TlsFiles | None = None
    local_address: str | None = None
    local_role: Role = Role.ENGINEER
    max_message_bytes: int = 32 * 1024 * 1024 + 64 * 1024
    max_inspects: int = 16
    max_watchers: int = 16
    max_evidence_streams: int = 8
    quick_threads: int = 8
    heartbeat_s: float = 10.0
    rate_per_s: float = 200.0
    rate_burst: float = 400.0
    max_connection_age_s: float = 3600.0

    @property
    def threads(self) -> int:
        """Threads of the pool: every bounded call may hold one and `quick_threads` are left."""
        return self.max_inspects + self.max_watchers + self.max_evidence_streams + self.quick_threads


def check_address(options: RpcOptions) -> None:
    """Raises UnsafeAddress when plaintext would be offered to other machines."""
    if options.tls is None:
        _check_local(options.address)
    if options.local_address is not None:
        _check_local(options.local_address)


def _check_local(address: str) -> None:
    if address.startswith(("unix:", "unix-abstract:")):
        return
    host = address.rpartition(":")[0].strip("[]")
    if not is_loopback(host):
        raise UnsafeAddress(
            f"rpc address '{address}' can be reached from other machines and no TLS is configured: "
            "give certificate, key and client authority, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine whatever a name server says."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: what it resolves to today says nothing about tomorrow
