"""A real Mosquitto on a port of its own, which can be killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A broker process on a port of its own, with the same port in every life."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "mosquitto.log"

    def start(self, *lines: str) -> None:
        """Starts with further lines of configuration, and waits until it listens."""
        config = self.folder / "mosquitto.conf"
        mine = [f"listener {self.port} 127.0.0.1", "allow_anonymous true"]
        mine += ["user root"] if os.geteuid() == 0 else []
        config.write_text("\n".join([*mine, *lines]) + "\n")
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-v", "-c", str(config)], stdout=log, stderr=log)
        wait_until(self._listens)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it as a power cut would; does nothing when it is ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Callable[[], Mosquitto]]:
    """Makes brokers that are not started; ends them all."""
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed: what needs a real broker was not tested")
    made: list[Mosquitto] = []

    def make() -> Mosquitto:
        folder = tmp_path / f"broker{len(made)}"
        folder.mkdir()
        made.append(Mosquitto(folder))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def broker(brokers: Callable[[], Mosquitto]) -> Mosquitto:
    """A started broker."""
    started = brokers()
    started.start()
    return started


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until
