"""One camera that hangs beside seven healthy ones: the others go on, and it is opened a second time.

How long a frame takes to its station is printed for the time before the hang and during it, from one run;
`LINESIDE_FAULTS=all` runs longer and asks that p99 moves by at most a tenth, or a millisecond.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from lineside.daemon.cameras import runner as runner_module
from lineside.daemon.cameras.runner import CameraRunner, RunnerState
from lineside.daemon.clock import SystemClock
from lineside.daemon.values import Frame

STRICT = os.environ.get("LINESIDE_FAULTS") == "all"
PHASE_S = 20.0 if STRICT else 1.5
PERIOD_S = 0.05


class Camera:
    """Twenty frames a second, until it is told to hang."""

    kind, source, lossless, frozen_after_s = "scripted", "a test", False, None

    def __init__(self, name: str, hanging: threading.Event, release: threading.Event) -> None:
        self.name = name
        self._hanging, self._release = hanging, release
        self._random = np.random.default_rng(1)
        self._index = 0

    def renewed(self) -> Camera:
        return Camera(self.name, threading.Event(), self._release)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def read(self) -> Frame:
        if self._hanging.is_set():
            self._release.wait(120)
        time.sleep(PERIOD_S)
        image = self._random.integers(0, 255, (120, 160, 3), dtype=np.uint8)
        self._index += 1
        return Frame(self.name, self._index, image, time.monotonic_ns(), datetime.now(UTC))


class Delays:
    """A sink that notes how long each frame took to it, milliseconds."""

    dropped = 0

    def __init__(self) -> None:
        self.seen: list[float] = []

    def put(self, frame: Frame, stopping: Callable[[], bool]) -> None:
        self.seen.append((time.monotonic_ns() - frame.captured_ns) / 1e6)

    def finish(self) -> None: ...


def p99(sinks: list[Delays]) -> float:
    delays = sorted(delay for sink in sinks for delay in sink.seen)
    return delays[int(0.99 * len(delays))]


@pytest.mark.timeout(180)
def test_a_hanging_camera_holds_up_no_other_and_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "RELIEF_EVERY_S", 0.1)
    release, hangs = threading.Event(), [threading.Event() for _ in range(8)]
    before, during = [Delays() for _ in range(8)], [Delays() for _ in range(8)]

    def phase(sinks: list[Delays], meanwhile: Callable[[list[CameraRunner]], None]) -> None:
        cameras = [Camera(f"cam{n}", hang, release) for n, hang in enumerate(hangs)]
        runners = [
            CameraRunner(camera, [sink], SystemClock(), hang_after_s=PHASE_S / 3)
            for camera, sink in zip(cameras, sinks, strict=True)
        ]
        for one in runners:
            one.start()
        meanwhile(runners)
        time.sleep(PHASE_S)
        states = [one.state for one in runners]
        for one in runners:
            assert one.stop(30)
        assert states == [RunnerState.CONNECTED] * 8

    def hang(runners: list[CameraRunner]) -> None:
        hangs[0].set()
        ends = time.monotonic() + 60
        while not runners[0].report().reconnects:
            assert time.monotonic() < ends, "the hanging camera was not replaced"
            time.sleep(0.05)

    phase(before, lambda _: None)
    phase(during, hang)
    release.set()

    calm, troubled = p99(before[1:]), p99(during[1:])
    print(f"p99 of seven cameras: {calm:.2f} ms, with the eighth hanging {troubled:.2f} ms")
    assert min(len(sink.seen) for sink in during[1:]) > 5
    assert during[0].seen, "it shows pictures again"
    if STRICT:
        assert troubled < max(1.1 * calm, calm + 1.0)
