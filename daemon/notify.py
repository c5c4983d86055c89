"""Tells systemd that the daemon is ready, alive or stopping (sd_notify); silent where nobody listens.

Source: sd_notify(3).
"""

from __future__ import annotations

import os
import socket


class ServiceNotifier:
    """Sends state lines to the socket named by `NOTIFY_SOCKET`, if there is one."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    @classmethod
    def from_environment(cls) -> ServiceNotifier:
        """The notifier for this process, as started by its service manager."""
        return cls(os.environ.get("NOTIFY_SOCKET"))

    def ready(self, status: str) -> None:
        """Judging can begin."""
        self._send(f"READY=1\nSTATUS={status}")

    def starting(self, within_s: float) -> None:
        """The start goes on: it is not late before `within_s` from now are over."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(within_s * 1e6)}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """Feeds the watchdog; called by the loop that proves work."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The daemon is closing in an orderly way."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.sendto(message.encode(), address)
            except OSError:
                # The service manager went away: judging matters more than telling it.
                return
