"""The demonstration's MQTT broker: an installed Mosquitto, or the embedded one where there is none."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lineside.daemon.reporting.embedded_broker import EmbeddedBroker


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """Where the broker listens, and which one it is."""

    host: str
    port: int
    kind: str
    protocol: str = "auto"
    """As the settings file says it; the embedded broker never answers an MQTT 5 client at all."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_or_free(wanted: int) -> int:
    """`wanted`, when nobody listens there, else any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
    return wanted


def find_mosquitto() -> str | None:
    """The installed Mosquitto; Debian keeps it in /usr/sbin, which is not on everybody's path."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def demo_broker(folder: Path) -> Iterator[RunningBroker]:
    """A broker on loopback for as long as the context lasts."""
    port = free_port()
    program = find_mosquitto()
    if program is None:
        embedded = EmbeddedBroker(port)
        embedded.open()
        try:
            yield RunningBroker("127.0.0.1", port, "embedded, MQTT 3.1.1", "3.1.1")
        finally:
            embedded.close()
        return
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
        "max_queued_messages 0\n"
    )
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(configuration)], stdout=log, stderr=log)
        try:
            _wait_until_open(port, process)
            yield RunningBroker("127.0.0.1", port, "Mosquitto")
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait_until_open(port: int, process: subprocess.Popen[bytes], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"Mosquitto did not start on port {port}; its log says why")
