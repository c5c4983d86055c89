"""The watchdog is fed by work: a station that hangs in one part starves it, whatever else goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from importlib.resources import files
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "inspection"))  # for inspection_doubles

from inspection_doubles import RECIPE, HeldClock

from lineside.daemon.clock import SystemClock
from lineside.daemon.inspection.part_numbers import PartNumbers
from lineside.daemon.inspection.plan import make_plan
from lineside.daemon.inspection.station import Station
from lineside.daemon.inspection.watcher import Watcher
from lineside.daemon.liveness import Pulse
from lineside.daemon.notify import ServiceNotifier
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.service import tell_until
from lineside.daemon.values import TriggerKind

WAIT_S = 120.0
DAEMON = "from lineside.daemon.cli import daemon_main; daemon_main()"
SETTINGS = """
device: {id: box1, data_dir: data}
engine: {threads: 1}
cameras: [{id: cam1, kind: push}]
stations: [{id: st1, camera: cam1, recipe: tray.yaml, trigger: {kind: grpc}}]
grpc: {listen: "127.0.0.1:0"}
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end of the notify socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(WAIT_S)
        yield end


def hear_until(manager: socket.socket, wanted: str) -> list[str]:
    """What came up to and with the first message that holds `wanted`."""
    heard: list[str] = []
    while not heard or wanted not in heard[-1]:
        heard.append(manager.recv(4096).decode())
    return heard


class HangingInspector:
    """Hangs in a part until it is let go."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.go = threading.Event()

    def inspect(self, job: object) -> object:
        self.inside.set()
        self.go.wait(WAIT_S)
        raise RuntimeError("let go")


class Line:
    """A station that works, and its watcher, on a store that takes everything."""

    def __init__(self, inspector: HangingInspector) -> None:
        self.station = Station(
            "st1",
            "cam1",
            make_plan(parse_recipe(RECIPE, "recipe.yaml")),
            inspector=inspector,
            accept=lambda intake: Future(),
            commit=lambda draft, images, **keeping: Future(),
            numbers=PartNumbers("st1", lambda name, count: Future()),
            clock=SystemClock(),
            boot_id="boot",
            lossless=False,
        )
        self.watcher = Watcher(self.station, None, TriggerKind.GRPC, lossless=False, trouble=lambda: None)

    def pulses(self) -> list[Pulse]:
        return [self.watcher.pulse(), self.station.pulse()]


@pytest.fixture
def hanging() -> HangingInspector:
    return HangingInspector()


@pytest.fixture
def line(hanging: HangingInspector) -> Iterator[Line]:
    line = Line(hanging)
    line.station.open()
    line.watcher.open()
    yield line
    hanging.go.set()
    line.watcher.close()
    line.station.close()


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def telling(manager: socket.socket, line: Line, clock: HeldClock) -> Iterator[None]:
    """The service's loop, turning fast, while `clock` stands until a test moves it."""
    stop = threading.Event()
    thread = threading.Thread(
        target=tell_until,
        args=(stop, ServiceNotifier(manager.getsockname()), clock),
        kwargs={"pulses": line.pulses, "status": lambda: "all well", "every_s": 0.02},
    )
    thread.start()
    yield
    stop.set()
    thread.join(WAIT_S)


def test_a_part_that_hangs_starves_the_watchdog_until_it_ends(manager, line, hanging, clock, telling):
    hear_until(manager, "WATCHDOG=1")
    line.station.trigger(None, kind=TriggerKind.GRPC)
    assert hanging.inside.wait(WAIT_S)
    hear_until(manager, "WATCHDOG=1")

    # The station's turn is the recipe's 0.4 s and what may be waited for besides; the watcher still turns.
    for _ in range(10):
        clock.ns += 10 * 1_000_000_000
        hear_until(manager, "STATUS=")
    hear_until(manager, "not alive: inspect:st1 is stuck")
    starved = [manager.recv(4096).decode() for _ in range(20)]
    assert all("not alive: inspect:st1 is stuck" in message for message in starved)
    assert not any("trigger:st1" in message for message in starved)

    hanging.go.set()
    hear_until(manager, "WATCHDOG=1")


def test_a_watcher_whose_thread_ended_starves_the_watchdog(manager, line, telling):
    hear_until(manager, "WATCHDOG=1")

    line.watcher.close()

    hear_until(manager, "not alive: trigger:st1 has ended")
    assert all("not alive" in manager.recv(4096).decode() for _ in range(10))


@pytest.mark.slow
def test_the_real_daemon_asks_for_time_then_is_ready_then_alive_then_stops(tmp_path, manager):
    (tmp_path / "tray.yaml").write_text(
        (files("lineside.daemon.demo") / "tray-check.yaml")
        .read_text()
        .partition("gates:")[0]
        .replace("camera: cam1", "camera: null")
    )
    (tmp_path / "lineside.yaml").write_text(SETTINGS)
    process = subprocess.Popen(
        [sys.executable, "-c", DAEMON, "--config", str(tmp_path / "lineside.yaml")],
        env={**os.environ, "NOTIFY_SOCKET": manager.getsockname()},
        stderr=subprocess.PIPE,
    )
    try:
        before_ready = hear_until(manager, "READY=1")
        assert before_ready[:-1]
        assert all(message.startswith("EXTEND_TIMEOUT_USEC=") for message in before_ready[:-1])
        after = hear_until(manager, "WATCHDOG=1")
        assert not any("EXTEND" in message or "not alive" in message for message in after)
        process.send_signal(signal.SIGTERM)
        hear_until(manager, "STOPPING=1")
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.communicate()
