"""A plant under the test's hand: a real broker, the real daemon with its engine process, two listeners."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from lineside.daemon.demo.broker import RunningBroker, find_mosquitto, free_port
from lineside.daemon.demo.listeners import BrokerListener, WatchListener
from lineside.daemon.demo.run import DemoPlan, write_settings
from lineside.daemon.demo.video import DrawnLine
from lineside.v1 import (
    cameras_pb2,
    cameras_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    stations_pb2,
    stations_pb2_grpc,
)

WAIT_S = 120.0
RECIPE = Path(__file__).parents[2] / "daemon" / "demo" / "tray-check.yaml"


def until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Waits for a condition; a loaded machine may take long, a broken one must not take for ever."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for: {what}"
        time.sleep(0.05)


@dataclass
class Plant:
    """A broker, a daemon and two listeners, each of which a test may kill and start again."""

    folder: Path
    line: DrawnLine
    realtime: bool
    records: list[Mapping[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broker = RunningBroker("127.0.0.1", free_port(), "Mosquitto")
        self.grpc_port = free_port()
        self.plan = DemoPlan(
            folder=self.folder,
            camera={"kind": "file", "path": str(self.line.video), "realtime": self.realtime},
            recipe=RECIPE,
            bundle=None,
            parts=self.line.parts,
            reach=self.line.reach,
            with_dashboard=False,
            dashboard_port=0,
        )
        self.settings = write_settings(self.plan, self.broker, self.grpc_port)
        self._broker: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self.on_broker = BrokerListener(self.broker.host, self.broker.port, self.records.append)
        self.on_grpc = WatchListener(f"127.0.0.1:{self.grpc_port}")
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")
        self.devices = devices_pb2_grpc.DeviceServiceStub(self.channel)
        self.stations = stations_pb2_grpc.StationServiceStub(self.channel)
        self.cameras = cameras_pb2_grpc.CameraServiceStub(self.channel)

    def start_broker(self) -> None:
        program = find_mosquitto()
        assert program is not None
        store = self.folder / "mosquitto"
        store.mkdir(exist_ok=True)
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.broker.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {store}/\nmax_queued_messages 0\n"
            # Each change is saved at once: a broker that was killed still knows who listened.
            "autosave_on_changes true\nautosave_interval 1\n"
            # Started by root it would become another user, who may not write here.
            f"user {getpass.getuser()}\n"
        )
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._broker = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)

    def kill_broker(self) -> None:
        """Kills it while it holds nothing that it acknowledged and has not passed on.

        What a broker acknowledged is the broker's to keep; a SIGKILL between its acknowledgement and its own
        saving would lose that, and no publisher could know. So the daemon stands still until the listener
        has all it sent, and goes on with the broker dead.
        """
        assert self._broker is not None
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)
        try:
            heard = -1
            while heard != self.on_broker.received:
                heard = self.on_broker.received
                time.sleep(1.0)
            self._broker.kill()
            self._broker.wait()
        finally:
            self._daemon.send_signal(signal.SIGCONT)

    def start_daemon(self, environment: Mapping[str, str] | None = None) -> None:
        command = "from lineside.daemon.cli import main; main()"
        with (self.folder / "daemon.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-c", command, "daemon", "--config", str(self.settings)],
                stdout=log,
                stderr=log,
                env=environment,
            )

    def kill_daemon(self) -> None:
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()

    def stop_daemon(self) -> int:
        assert self._daemon is not None
        self._daemon.terminate()
        return self._daemon.wait(timeout=60)

    def daemon_pid(self) -> int:
        assert self._daemon is not None
        return self._daemon.pid

    def engine_pid(self) -> int | None:
        """The daemon's child that runs the engine."""
        assert self._daemon is not None
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._daemon.pid)], capture_output=True, text=True, check=False
        )
        pids = [int(word) for word in listed.stdout.split()]
        return pids[0] if pids else None

    def stored(self) -> int:
        try:
            return int(self.devices.GetDevice(devices_pb2.GetDeviceRequest(), timeout=5).device.last_sequence)
        except grpc.RpcError:
            return 0

    def line_has_ended(self) -> bool:
        """Whether the file was played to its end and every part of it has a durable verdict."""
        try:
            camera = self.cameras.ListCameras(cameras_pb2.ListCamerasRequest(), timeout=5).cameras[0]
        except grpc.RpcError:
            return False
        station = self.station()
        return camera.finished and station is not None and not station.pending

    def station(self) -> stations_pb2.Station | None:
        try:
            return self.stations.ListStations(stations_pb2.ListStationsRequest(), timeout=5).stations[0]
        except grpc.RpcError:
            return None

    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()

    def close(self) -> None:
        self.channel.close()
        for started in (self._daemon, self._broker):
            if started is not None and started.poll() is None:
                os.kill(started.pid, signal.SIGKILL)
                started.wait()
