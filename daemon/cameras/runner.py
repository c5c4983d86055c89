"""One camera's thread: open, read, hand on, close; opened again when it goes away.

A call into the camera that hangs blocks this thread alone: the state says so, nobody waits for it, and the
process can still end. Knows nothing of triggers and recipes.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeVar

import structlog

from lineside.daemon.cameras.backoff import delay_s
from lineside.daemon.cameras.base import Camera, CameraLost, DamagedPicture, EndOfSource
from lineside.daemon.cameras.freshness import Freshness, glimpse
from lineside.daemon.cameras.slot import FrameSink
from lineside.daemon.clock import Clock
from lineside.daemon.ports import CameraState
from lineside.daemon.secrets import masked_text
from lineside.daemon.values import Frame, Reason, ReasonCode

T = TypeVar("T")

HANG_AFTER_S = 15.0
"""A call into the camera that takes longer is a hang; longer than any timeout the cameras set themselves."""
STEADY_FRAMES = 10
"""After so many frames in a row a camera counts as recovered, and the next loss is retried at once."""


class RunnerState(StrEnum):
    """What a camera's thread is doing."""

    IDLE = "IDLE"  # not started
    OPENING = "OPENING"
    CONNECTED = "CONNECTED"
    LOST = "LOST"  # waits before it opens the camera again
    HUNG = "HUNG"  # a call into the camera does not come back
    FINISHED = "FINISHED"  # a file has ended: no fault
    STOPPED = "STOPPED"


class CameraRunner:
    """Owns one camera and its thread. `sinks` get every frame, in this order."""

    def __init__(
        self, camera: Camera, sinks: Sequence[FrameSink], clock: Clock, *, hang_after_s: float = HANG_AFTER_S
    ) -> None:
        self._camera = camera
        self._sinks = tuple(sinks)
        self._clock = clock
        self._hang_after_ns = round(hang_after_s * 1e9)
        self._log = structlog.get_logger().bind(camera=camera.name)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera.name}", daemon=True)
        self._lock = threading.Lock()  # guards everything below
        self._state = RunnerState.IDLE
        self._detail = ""
        self._calling_since_ns: int | None = None
        self._newest: Frame | None = None
        self._freshness = Freshness(camera.frozen_after_s)
        self._frames = self._reconnects = self._damaged = 0

    @property
    def camera(self) -> Camera:
        """The camera that is run."""
        return self._camera

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Asks the thread to end and waits; False when a hanging camera keeps it (until the process ends)."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def state(self) -> RunnerState:
        """What the thread is doing now."""
        with self._lock:
            return self._state_now()

    def newest(self) -> Frame | None:
        """The newest frame; None before the first. Its age is the caller's to judge."""
        with self._lock:
            return self._newest

    def trouble(self) -> Reason | None:
        """Why a picture of this camera may not be judged now; None when it shows the present."""
        with self._lock:
            state = self._state_now()
            name = self._camera.name
            if state not in (RunnerState.CONNECTED, RunnerState.FINISHED):
                return Reason(
                    ReasonCode.NO_FRAME, f"camera {name} is {state.lower()}: {self._detail_now(state)}"
                )
            if self._newest is None:
                return Reason(ReasonCode.NO_FRAME, f"camera {name} has given no picture yet")
            if (frozen_s := self._freshness.frozen_for_s) is not None:
                return Reason(
                    ReasonCode.STALE_FRAME, f"camera {name} has shown the same picture for {frozen_s:.0f} s"
                )
            if self._freshness.black:
                return Reason(ReasonCode.IMAGE_QUALITY, f"camera {name} shows a black picture")
            return None

    def report(self) -> CameraState:
        """The camera as people and servers see it."""
        trouble = self.trouble()
        with self._lock:
            state = self._state_now()
            newest = self._newest
            age_ns = None if newest is None else self._clock.monotonic_ns() - newest.captured_ns
            height, width = (0, 0) if newest is None else newest.image.shape[:2]
            ended = state in (RunnerState.CONNECTED, RunnerState.FINISHED)
            detail = trouble.message if trouble is not None and ended else self._detail_now(state)
            return CameraState(
                camera=self._camera.name,
                kind=self._camera.kind,
                source=self._camera.source,
                connected=state is RunnerState.CONNECTED,
                frames=self._frames,
                dropped=sum(sink.dropped for sink in self._sinks),
                reconnects=self._reconnects,
                last_frame_age_s=None if age_ns is None else age_ns / 1e9,
                width=width,
                height=height,
                detail=detail,
            )

    @property
    def repeated(self) -> int:
        """Pictures that equalled the one before them, bit for bit."""
        with self._lock:
            return self._freshness.repeated

    @property
    def damaged(self) -> int:
        """Pictures that could not be read and were passed over."""
        with self._lock:
            return self._damaged

    def _state_now(self) -> RunnerState:
        since = self._calling_since_ns
        if since is not None and self._clock.monotonic_ns() - since > self._hang_after_ns:
            return RunnerState.HUNG
        return self._state

    def _detail_now(self, state: RunnerState) -> str:
        if state is RunnerState.HUNG:
            return f"no answer from {self._camera.source}; restart the camera"
        return self._detail

    def _enter(self, state: RunnerState, detail: str = "") -> None:
        with self._lock:
            self._state, self._detail = state, detail

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            shown = 0
            try:
                self._enter(RunnerState.OPENING, "opening")
                self._call(self._camera.open)
                self._freshness_reopened()
                self._enter(RunnerState.CONNECTED)
                while not self._stop.is_set():
                    shown += self._step()
            except EndOfSource as end:
                self._close()
                self._enter(RunnerState.FINISHED, str(end))
                self._log.info("camera_finished", detail=str(end), frames=self._frames)
                self._finish_sinks()
                return
            except CameraLost as error:
                lost = str(error)
            except Exception as error:  # noqa: BLE001 - a camera library may raise anything; no camera ends its thread
                lost = masked_text(f"{type(error).__name__}: {error}")
                self._log.error("camera_failed", traceback=_traceback(error))
            else:
                break
            failures = 1 if shown >= STEADY_FRAMES else failures + 1
            self._enter(RunnerState.LOST, lost)
            wait_s = delay_s(failures)
            self._log.warning("camera_lost", detail=lost, again_in_s=wait_s)
            self._close()
            if self._stop.wait(wait_s):
                break
            with self._lock:
                self._reconnects += 1
        self._close()
        self._enter(RunnerState.STOPPED)
        self._finish_sinks()

    def _step(self) -> int:
        """Reads and hands on one frame; how many it was."""
        try:
            frame = self._call(self._camera.read)
        except DamagedPicture as error:
            self._log.warning("picture_damaged", detail=str(error))
            with self._lock:
                self._damaged += 1
            return 0
        if frame is None:
            return 0
        look = glimpse(frame.image)
        with self._lock:
            self._frames += 1
            self._newest = frame
            self._freshness.see(look, frame.captured_ns)
        for sink in self._sinks:
            sink.put(frame, self._stop.is_set)
        return 1

    def _freshness_reopened(self) -> None:
        with self._lock:
            self._freshness.reopened()

    def _finish_sinks(self) -> None:
        for sink in self._sinks:
            sink.finish()

    def _call(self, call: Callable[[], T]) -> T:
        with self._lock:
            self._calling_since_ns = self._clock.monotonic_ns()
        try:
            return call()
        finally:
            with self._lock:
                self._calling_since_ns = None

    def _close(self) -> None:
        try:
            self._call(self._camera.close)
        except Exception as error:  # noqa: BLE001 - a camera that cannot be closed is opened afresh all the same
            self._log.error("camera_close_failed", traceback=_traceback(error))


def _traceback(error: Exception) -> str:
    """Where it happened, without the passwords that a library may have put into its message."""
    return masked_text("".join(traceback.format_exception(error)))
