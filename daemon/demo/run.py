"""Runs the demonstration: broker, daemon, dashboard, two listeners as a plant has them, then the summary.

The daemon is the real `linesided` in its own process, started with a settings file that stays in the
demonstration's folder. Knows nothing of how verdicts are made.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from ruamel.yaml import YAML

from lineside.daemon.demo.broker import RunningBroker, demo_broker, free_port
from lineside.daemon.demo.listeners import BrokerListener, WatchListener
from lineside.daemon.demo.summary import Heard, summarise
from lineside.daemon.demo.truth import PartOnLine
from lineside.daemon.engine_worker.messages import LookAhead
from lineside.v1 import (
    cameras_pb2,
    cameras_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    stations_pb2,
    stations_pb2_grpc,
)

STATION = "tray"
CAMERA = "cam1"
SIGN_IN_LINK = "sign-in-link"
"""The file in the demonstration's folder with the link that opens the dashboard, once."""
LINK_WITHIN_S = 40.0
NEIGHBOURS = 2
"""Simulated devices beside the real one, so that the fleet's page has a fleet to show."""


class DemoFailed(Exception):
    """The demonstration could not be carried through; the message says which part of it and where to look."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to run. `parts` is the truth, where there is one; `reach` belongs to it."""

    folder: Path
    camera: Mapping[str, object]
    recipe: Path
    bundle: Path | None
    parts: list[PartOnLine] | None
    reach: int
    with_dashboard: bool
    dashboard_port: int
    stop_after: int | None = None
    """Stop when so many parts were judged; None: when the source ends."""
    look_ahead: LookAhead = "auto"


@dataclass(frozen=True, slots=True)
class RunningDemo:
    """Addresses of a demonstration that runs."""

    broker: RunningBroker
    grpc_target: str
    dashboard_url: str | None
    settings: Path
    daemon: subprocess.Popen[bytes]


def write_settings(plan: DemoPlan, broker: RunningBroker, grpc_port: int) -> Path:
    """The daemon's settings file of the demonstration: what an integrator would write, and may keep."""
    path = plan.folder / "lineside.yaml"
    settings = {
        "device": {"id": "demo", "site": "demo-site", "area": "packing", "line": "line1", "data_dir": "data"},
        "engine": {
            "bundle": str(plan.bundle) if plan.bundle is not None else None,
            "look_ahead": plan.look_ahead,
        },
        "cameras": [{"id": CAMERA, **plan.camera}],
        "stations": [{"id": STATION, "camera": CAMERA, "recipe": str(plan.recipe)}],
        "mqtt": {
            "brokers": [{"host": broker.host, "port": broker.port}],
            "protocol": broker.protocol,
        },
        "grpc": {"listen": f"127.0.0.1:{grpc_port}"},
        "log": {"level": "info", "format": "text"},
    }  # fmt: skip
    with path.open("w") as file:
        YAML().dump(settings, file)
    return path


@contextmanager
def running_demo(plan: DemoPlan) -> Iterator[RunningDemo]:
    """Starts the broker, the daemon and (where asked) the dashboard; stops them in reverse order."""
    with ExitStack() as stack:
        broker = stack.enter_context(demo_broker(plan.folder / "broker"))
        grpc_port = free_port()
        settings = write_settings(plan, broker, grpc_port)
        target = f"127.0.0.1:{grpc_port}"
        daemon = stack.enter_context(process("daemon", ["daemon", "--config", str(settings)], plan.folder))
        url = None
        if plan.with_dashboard:
            listen = f"127.0.0.1:{plan.dashboard_port}"
            database = f"sqlite:///{plan.folder / 'dashboard.db'}"
            link = plan.folder / SIGN_IN_LINK
            arguments = ["dashboard", "--device", target, "--listen", listen, "--database", database]
            arguments += ["--workers", "1", "--sign-in-link-to", str(link)]
            arguments += ["--mqtt", f"{broker.host}:{broker.port}"]
            stack.enter_context(process("dashboard", arguments, plan.folder))
            simulate = ["dashboard", "--database", database, "simulate", "--devices", str(NEIGHBOURS)]
            simulate += ["--first-port", "0", "--mqtt", f"{broker.host}:{broker.port}", "--no-trouble"]
            stack.enter_context(process("neighbours", simulate, plan.folder))
            url = f"http://{listen}/"
        yield RunningDemo(broker, target, url, settings, daemon)


@contextmanager
def process(name: str, arguments: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `lineside` command as a process of its own, its log in `folder/<name>.log`."""
    command = [sys.executable, "-c", "from lineside.daemon.cli import main; main()", *arguments]
    with (folder / f"{name}.log").open("ab") as log:
        started = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=dict(os.environ)
        )
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(timeout=20)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def run(
    plan: DemoPlan,
    *,
    on_record: Callable[[Mapping[str, object]], None],
    on_ready: Callable[[RunningDemo], None],
    on_done: Callable[[RunningDemo, dict[str, object]], None],
    timeout_s: float,
) -> dict[str, object]:
    """Runs until the source has ended and every result was heard, and gives the summary.

    `on_done` is called while everything still runs, so that a person may go on looking.

    Raises:
        DemoFailed: the daemon died, or not everything arrived within `timeout_s` after the last news.
    """
    records: list[Heard] = []

    def heard(record: Mapping[str, object]) -> None:
        records.append(Heard.from_record(record))
        on_record(record)

    with ExitStack() as stack:
        demo = stack.enter_context(running_demo(plan))
        on_broker = stack.enter_context(BrokerListener(demo.broker.host, demo.broker.port, heard))
        if not on_broker.wait_until_listening(15):
            raise DemoFailed(f"the listener could not subscribe at {demo.broker.host}:{demo.broker.port}")
        on_grpc = stack.enter_context(WatchListener(demo.grpc_target))
        watch = LineWatch(demo, plan, stack)
        on_ready(demo)
        watch.wait_until_ready(timeout_s)
        stored = watch.wait_until_done(lambda: (on_broker.received, on_grpc.received), timeout_s)
        summary = summarise(
            records,
            parts=plan.parts,
            reach=plan.reach,
            mqtt_received=on_broker.received,
            grpc_received=on_grpc.received,
            stored=stored,
        )
        on_done(demo, summary)
        return summary


def sign_in_link(demo: RunningDemo, folder: Path) -> str | None:
    """The link that opens the dashboard without a password, once; its plain address where none was made."""
    if demo.dashboard_url is None:
        return None
    deadline = time.monotonic() + LINK_WITHIN_S
    while time.monotonic() < deadline:
        try:
            return (folder / SIGN_IN_LINK).read_text().strip()
        except FileNotFoundError:
            time.sleep(0.1)
    return demo.dashboard_url


class LineWatch:
    """Asks the running daemon, over gRPC, whether it is ready and whether the line has come to its end."""

    def __init__(self, demo: RunningDemo, plan: DemoPlan, stack: ExitStack) -> None:
        channel = stack.enter_context(grpc.insecure_channel(demo.grpc_target))
        self._demo = demo
        self._plan = plan
        self._devices = devices_pb2_grpc.DeviceServiceStub(channel)
        self._stations = stations_pb2_grpc.StationServiceStub(channel)
        self._cameras = cameras_pb2_grpc.CameraServiceStub(channel)

    def wait_until_ready(self, timeout_s: float) -> None:
        """Until the daemon answers and its engine is loaded."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                device = self._devices.GetDevice(devices_pb2.GetDeviceRequest(), timeout=5).device
            except grpc.RpcError:
                time.sleep(0.1)
                continue
            if device.engine_state == devices_pb2.ENGINE_STATE_FAILED:
                raise DemoFailed(f"the engine could not be loaded; see {self._plan.folder / 'daemon.log'}")
            if device.engine_state == devices_pb2.ENGINE_STATE_READY:
                return
            time.sleep(0.1)
        raise DemoFailed(
            f"the daemon was not ready within {timeout_s:.0f} s; see {self._plan.folder / 'daemon.log'}"
        )

    def wait_until_done(self, received: Callable[[], tuple[int, int]], timeout_s: float) -> int:
        """Until the source has ended, no part waits, and both listeners have heard all; gives the count."""
        news = time.monotonic()
        last: tuple[int, ...] = ()
        while True:
            self._check_alive()
            now = (*received(), *self._state())
            if now != last:
                last, news = now, time.monotonic()
            on_broker, on_grpc, finished, pending, judged, stored = now
            over = bool(finished) or (self._plan.stop_after is not None and stored >= self._plan.stop_after)
            # A verdict is decided a moment before it is durable: the folder is new, so the two must meet.
            if over and not pending and judged <= stored <= min(on_broker, on_grpc):
                return stored
            if time.monotonic() - news > timeout_s:
                heard = f"{stored} results stored, {on_broker} heard over MQTT, {on_grpc} over gRPC"
                raise DemoFailed(
                    f"nothing new for {timeout_s:.0f} s: {heard}, {pending} parts waiting. "
                    f"{self._camera_detail()}Logs are in {self._plan.folder}"
                )
            time.sleep(0.1)

    def _state(self) -> tuple[int, int, int, int]:
        try:
            camera = self._cameras.ListCameras(cameras_pb2.ListCamerasRequest(), timeout=5).cameras[0]
            station = self._stations.ListStations(stations_pb2.ListStationsRequest(), timeout=5).stations[0]
            device = self._devices.GetDevice(devices_pb2.GetDeviceRequest(), timeout=5).device
        except grpc.RpcError:
            return 0, 0, 0, 0
        return int(camera.finished), int(station.pending), int(station.judged), int(device.last_sequence)

    def _camera_detail(self) -> str:
        try:
            camera = self._cameras.ListCameras(cameras_pb2.ListCamerasRequest(), timeout=5).cameras[0]
        except grpc.RpcError:
            return ""
        return f"Camera {camera.camera}: {camera.detail}. " if camera.detail else ""

    def _check_alive(self) -> None:
        code = self._demo.daemon.poll()
        if code is not None:
            raise DemoFailed(
                f"the daemon ended with exit code {code}; see {self._plan.folder / 'daemon.log'}"
            )
