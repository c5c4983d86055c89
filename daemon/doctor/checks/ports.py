"""Are the addresses free that the daemon listens on?"""

from __future__ import annotations

import socket
from collections.abc import Iterator

from lineside.daemon.doctor.base import Finding, Level, Subject


class PortsCheck:
    """Each address is listened on for a moment, unless the daemon has it."""

    name = "ports"
    needs_settings = True

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding an address."""
        settings = subject.known
        listens = {"grpc.listen": settings.grpc.listen}
        if settings.metrics is not None:
            listens["metrics.listen"] = settings.metrics.listen
        for key, listen in listens.items():
            if subject.daemon_runs:
                yield Finding(self.name, Level.SKIPPED, f"{key} {listen}: the daemon runs and has it")
                continue
            trouble = _trouble(listen)
            if trouble is None:
                yield Finding(self.name, Level.OK, f"{key} {listen} is free")
            else:
                step = f"end what has it (`ss -ltnp`), or choose another {key}"
                yield Finding(self.name, Level.FAILED, f"{key} {listen}: {trouble}", step)


def _trouble(listen: str) -> str | None:
    host, _, port = listen.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen()
    except OSError as error:
        return error.strerror or str(error)
    return None
