"""A camera's thread: survives loss, hang, freeze and damage, and always says what is so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import numpy as np
import pytest

from lineside.daemon.cameras.backoff import LONGEST_S, delay_s
from lineside.daemon.cameras.base import CameraLost, DamagedPicture, EndOfSource
from lineside.daemon.cameras.runner import MOST_LEFT_BEHIND, CameraRunner, RunnerState
from lineside.daemon.cameras.slot import FrameQueue, FrameSink, NewestFrame
from lineside.daemon.clock import SystemClock
from lineside.daemon.values import Frame, Picture, ReasonCode

PATIENCE_S = 30.0


class ShiftedClock(SystemClock):
    """The system's clock, which a test can put forward."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class ScriptedCamera:
    """Does what its script says, read by read; a script a connection."""

    name = "cam1"
    kind = "scripted"
    source = "a script"

    def __init__(
        self, *scripts: list[object], lossless: bool = True, frozen_after_s: float | None = None
    ) -> None:
        self.lossless = lossless
        self.frozen_after_s = frozen_after_s
        self.release = threading.Event()
        self.opened = 0
        self.closed = 0
        self._scripts = list(scripts)
        self._steps: Iterator[object] = iter(())
        self._index = 0

    def open(self) -> None:
        self.opened += 1
        if not self._scripts:
            raise CameraLost("unplugged")
        self._steps = iter(self._scripts.pop(0))
        self._index = 0

    def read(self) -> Frame | None:
        step = next(self._steps, None)
        if step is None:
            time.sleep(0.01)
            return None
        if isinstance(step, str):
            assert step == "hang"
            self.release.wait(PATIENCE_S)
            return None
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, np.ndarray)
        frame = Frame(self.name, self._index, step, time.monotonic_ns(), datetime.now().astimezone())
        self._index += 1
        return frame

    def close(self) -> None:
        self.closed += 1


def picture(level: int) -> Picture:
    return np.full((16, 16, 3), level, np.uint8)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Callable[..., CameraRunner]:
    def start(camera: ScriptedCamera, *sinks: FrameSink, clock: SystemClock | None = None) -> CameraRunner:
        runner = CameraRunner(camera, sinks, clock or SystemClock())
        runner.start()
        request.addfinalizer(lambda: (camera.release.set(), runner.stop(PATIENCE_S)))
        return runner

    return start


Run = Callable[..., CameraRunner]


def test_a_finished_source_is_a_state_and_no_fault_and_every_frame_was_handed_on(run: Run) -> None:
    camera = ScriptedCamera([picture(level) for level in range(30, 40)] + [EndOfSource("done")])  # type: ignore[list-item]
    queue = FrameQueue(2, lossless=True)  # smaller than the file: the reader waits
    runner = run(camera, queue)

    frames = []
    for _ in range(11):
        frame = queue.take(PATIENCE_S)
        if frame is not None:
            frames.append(frame)
    assert queue.finished

    assert [frame.index for frame in frames] == list(range(10))
    wait_until(lambda: runner.state is RunnerState.FINISHED)
    assert runner.trouble() is None
    assert runner.report().dropped == 0
    assert runner.report().detail == "done"
    assert camera.closed >= 1


def test_a_lost_camera_is_opened_again_and_says_so_meanwhile(run: Run) -> None:
    camera = ScriptedCamera([picture(50), CameraLost("cable out")], [picture(60)])
    newest = NewestFrame()
    runner = run(camera, newest)

    wait_until(lambda: runner.state is RunnerState.LOST)
    trouble = runner.trouble()
    assert trouble is not None
    assert trouble.code is ReasonCode.NO_FRAME
    assert "cable out" in trouble.message
    assert not runner.report().connected

    wait_until(lambda: runner.report().frames == 2)
    assert runner.state is RunnerState.CONNECTED
    assert runner.report().reconnects == 1
    assert runner.trouble() is None


def test_a_camera_that_raises_anything_at_all_is_lost_and_not_the_end(run: Run) -> None:
    camera = ScriptedCamera([picture(50), ZeroDivisionError("odd driver")], [picture(60)])
    runner = run(camera, NewestFrame())

    wait_until(lambda: runner.report().frames == 2)
    assert camera.opened == 2


def test_a_damaged_picture_is_counted_and_passed_over(run: Run) -> None:
    camera = ScriptedCamera([picture(50), DamagedPicture("x.png"), picture(60), EndOfSource("done")])
    runner = run(camera, NewestFrame())

    wait_until(lambda: runner.state is RunnerState.FINISHED)
    assert (runner.report().frames, runner.damaged) == (2, 1)


def test_a_hanging_camera_is_told_holds_no_other_and_lets_the_process_end(run: Run) -> None:
    clock = ShiftedClock()
    hanging = ScriptedCamera([picture(50), "hang"])
    healthy = ScriptedCamera([picture(level) for level in range(20, 30)])
    first, second = run(hanging, NewestFrame(), clock=clock), run(healthy, NewestFrame())
    wait_until(lambda: first.report().frames == 1)
    clock.ahead_ns = 60_000_000_000

    wait_until(lambda: first.state is RunnerState.HUNG)
    trouble = first.trouble()
    assert trouble is not None
    assert trouble.code is ReasonCode.NO_FRAME
    assert not first.report().connected
    wait_until(lambda: second.report().frames == 10)
    assert not first.stop(timeout_s=0.05)

    hanging.release.set()
    assert first.stop(PATIENCE_S)


def test_a_camera_that_answers_again_after_a_hang_is_connected_again(run: Run) -> None:
    clock = ShiftedClock()
    camera = ScriptedCamera([picture(50), "hang", picture(60)])
    runner = run(camera, NewestFrame(), clock=clock)
    wait_until(lambda: runner.report().frames == 1)
    clock.ahead_ns = 60_000_000_000
    wait_until(lambda: runner.state is RunnerState.HUNG)

    camera.release.set()

    wait_until(lambda: runner.report().frames == 2)
    assert runner.state is RunnerState.CONNECTED


class RenewableCamera(ScriptedCamera):
    """One that can be opened a second time; its successors follow the scripts that are left."""

    def __init__(self, *scripts: list[object]) -> None:
        super().__init__(*scripts[:1])
        self._rest = scripts[1:]
        self.successor: RenewableCamera | None = None

    def renewed(self) -> RenewableCamera:
        self.successor = RenewableCamera(*self._rest)
        return self.successor


def test_a_camera_that_hangs_is_opened_a_second_time_and_the_first_is_heard_no_more(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside.daemon.cameras.runner.RELIEF_EVERY_S", 0.02)
    clock, newest = ShiftedClock(), NewestFrame()
    first = RenewableCamera([picture(50), "hang", picture(66)], [picture(60), picture(61)])
    runner = run(first, newest, clock=clock)
    wait_until(lambda: runner.report().frames == 1)
    clock.ahead_ns = 60_000_000_000

    wait_until(lambda: runner.report().frames == 3)
    assert runner.state is RunnerState.CONNECTED
    assert runner.report().reconnects == 1
    assert runner.trouble() is None

    first.release.set()
    wait_until(lambda: first.closed > 0)
    latest = newest.peek()
    assert latest is not None
    assert latest.image[0, 0, 0] == 61, "what comes too late is not shown"
    assert runner.report().frames == 3
    assert runner.state is RunnerState.CONNECTED


def test_threads_that_hang_are_bounded_and_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.daemon.cameras.runner.RELIEF_EVERY_S", 0.02)
    camera = RenewableCamera(*[["hang"]] * 10)
    runner = CameraRunner(camera, (), SystemClock(), hang_after_s=0.05)
    runner.start()
    wait_until(lambda: runner.report().reconnects == MOST_LEFT_BEHIND)
    time.sleep(0.3)

    assert runner.state is RunnerState.HUNG
    assert runner.report().reconnects == MOST_LEFT_BEHIND
    assert not runner.stop(0.05)
    one: ScriptedCamera | None = camera
    while one is not None:
        one.release.set()
        one = one.successor if isinstance(one, RenewableCamera) else None
    assert runner.stop(PATIENCE_S)


def test_a_camera_without_a_picture_yet_is_not_ready(run: Run) -> None:
    runner = run(ScriptedCamera([]), NewestFrame())
    wait_until(lambda: runner.state is RunnerState.CONNECTED)

    trouble = runner.trouble()

    assert trouble is not None
    assert trouble.code is ReasonCode.NO_FRAME
    assert runner.newest() is None
    assert runner.report().last_frame_age_s is None


def test_a_frozen_camera_shows_a_stale_picture(run: Run) -> None:
    camera = ScriptedCamera([picture(50)] * 5, frozen_after_s=1e-9)  # type: ignore[list-item]
    runner = run(camera, NewestFrame())
    wait_until(lambda: runner.report().frames == 5)

    trouble = runner.trouble()

    assert trouble is not None
    assert trouble.code is ReasonCode.STALE_FRAME
    assert runner.repeated == 4


def test_a_black_camera_shows_nothing(run: Run) -> None:
    runner = run(ScriptedCamera([picture(0)]), NewestFrame())
    wait_until(lambda: runner.report().frames == 1)

    trouble = runner.trouble()

    assert trouble is not None
    assert trouble.code is ReasonCode.IMAGE_QUALITY


def test_stopping_ends_a_reader_that_waits_for_room(run: Run) -> None:
    camera = ScriptedCamera([picture(50)] * 10)  # type: ignore[list-item]
    queue = FrameQueue(1, lossless=True)
    runner = run(camera, queue)
    wait_until(lambda: runner.report().frames == 2)

    assert runner.stop(PATIENCE_S)
    assert runner.state is RunnerState.STOPPED
    assert camera.closed >= 1
    assert queue.take(0) is not None
    assert queue.finished


def test_stopping_a_runner_that_was_never_started_is_harmless() -> None:
    assert CameraRunner(ScriptedCamera(), (), SystemClock()).stop()


def test_waiting_doubles_up_to_a_bound() -> None:
    assert [delay_s(failures) for failures in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert delay_s(10_000) == LONGEST_S
