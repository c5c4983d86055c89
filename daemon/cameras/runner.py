"""One camera's thread: open, read, hand on, close; opened again when it goes away.

A call into the camera that hangs blocks this thread alone: the state says so, nobody waits for it, and the
process can still end. Where the source can be opened a second time, another thread takes its place and the
one that hangs is left behind, until its call comes back. Knows nothing of triggers and recipes.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import structlog

from lineside.daemon.cameras.backoff import delay_s
from lineside.daemon.cameras.base import Camera, CameraLost, DamagedPicture, EndOfSource, Renewable
from lineside.daemon.cameras.freshness import Freshness, glimpse
from lineside.daemon.cameras.slot import FrameSink
from lineside.daemon.clock import Clock
from lineside.daemon.ports import CameraState
from lineside.daemon.secrets import masked_text
from lineside.daemon.values import Frame, Reason, ReasonCode

T = TypeVar("T")

HANG_AFTER_S = 15.0
"""A call into the camera that takes longer is a hang; longer than any timeout the cameras set themselves."""
RELIEF_EVERY_S = 1.0
"""How often a camera that can be opened a second time is looked at for a hang."""
MOST_LEFT_BEHIND = 3
"""Threads of one camera that may hang at a time; beyond them it stays hung, in view, until one comes back."""
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


@dataclass(slots=True, eq=False)
class _Reader:
    """A camera and the thread that calls it."""

    camera: Camera
    thread: threading.Thread | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    calling_since_ns: int | None = None


class CameraRunner:
    """Owns one camera and its thread. `sinks` get every frame, in this order."""

    def __init__(
        self, camera: Camera, sinks: Sequence[FrameSink], clock: Clock, *, hang_after_s: float = HANG_AFTER_S
    ) -> None:
        self._reader = _Reader(camera)
        self._sinks = tuple(sinks)
        self._clock = clock
        self._hang_after_ns = round(hang_after_s * 1e9)
        self._log = structlog.get_logger().bind(camera=camera.name)
        self._stop = threading.Event()
        self._relief = threading.Thread(
            target=self._relieve, name=f"camera-{camera.name}-relief", daemon=True
        )
        self._lock = threading.Lock()  # guards everything below, and which reader is the one that counts
        self._left_behind: list[_Reader] = []
        self._state = RunnerState.IDLE
        self._detail = ""
        self._newest: Frame | None = None
        self._freshness = Freshness(camera.frozen_after_s)
        self._frames = self._reconnects = self._damaged = 0

    @property
    def camera(self) -> Camera:
        """The camera that is run."""
        with self._lock:
            return self._reader.camera

    def start(self) -> None:
        """Starts the thread."""
        self._begin(self._reader)
        if isinstance(self._reader.camera, Renewable):
            self._relief.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Asks the thread to end and waits; False when a hanging camera keeps it (until the process ends)."""
        self._stop.set()
        if self._relief.ident is not None:
            self._relief.join()
        reader = self._reader
        reader.stop.set()
        if reader.thread is None:
            return True
        reader.thread.join(timeout_s)
        return not reader.thread.is_alive()

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
            name = self._reader.camera.name
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
            newest, camera = self._newest, self._reader.camera
            age_ns = None if newest is None else self._clock.monotonic_ns() - newest.captured_ns
            height, width = (0, 0) if newest is None else newest.image.shape[:2]
            ended = state in (RunnerState.CONNECTED, RunnerState.FINISHED)
            detail = trouble.message if trouble is not None and ended else self._detail_now(state)
            return CameraState(
                camera=camera.name,
                kind=camera.kind,
                source=camera.source,
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
        since = self._reader.calling_since_ns
        if since is not None and self._clock.monotonic_ns() - since > self._hang_after_ns:
            return RunnerState.HUNG
        return self._state

    def _detail_now(self, state: RunnerState) -> str:
        if state is RunnerState.HUNG:
            return f"no answer from {self._reader.camera.source}; restart the camera"
        return self._detail

    def _enter(self, reader: _Reader, state: RunnerState, detail: str = "") -> None:
        with self._lock:
            if self._reader is reader:
                self._state, self._detail = state, detail

    def _begin(self, reader: _Reader) -> None:
        name = f"camera-{reader.camera.name}"
        reader.thread = threading.Thread(target=self._run, args=(reader,), name=name, daemon=True)
        reader.thread.start()

    def _relieve(self) -> None:
        """Looks now and then whether the camera hangs; a new thread with a new object then takes over."""
        while not self._stop.wait(RELIEF_EVERY_S):
            with self._lock:
                self._left_behind = [one for one in self._left_behind if _alive(one)]
                hung, old = self._state_now() is RunnerState.HUNG, self._reader
                if not hung or len(self._left_behind) == MOST_LEFT_BEHIND:
                    continue
                assert isinstance(old.camera, Renewable)
                new = _Reader(old.camera.renewed())
                old.stop.set()
                self._left_behind.append(old)
                self._reader = new
                self._state, self._detail = RunnerState.LOST, "a call into it hangs; opened a second time"
                self._reconnects += 1
            self._log.error("camera_hangs", source=new.camera.source, left_behind=len(self._left_behind))
            self._begin(new)

    def _run(self, reader: _Reader) -> None:
        failures = 0
        while not reader.stop.is_set():
            shown = 0
            try:
                self._enter(reader, RunnerState.OPENING, "opening")
                self._call(reader, reader.camera.open)
                self._freshness_reopened(reader)
                self._enter(reader, RunnerState.CONNECTED)
                while not reader.stop.is_set():
                    shown += self._step(reader)
            except EndOfSource as end:
                self._close(reader)
                self._enter(reader, RunnerState.FINISHED, str(end))
                self._log.info("camera_finished", detail=str(end), frames=self._frames)
                self._finish_sinks(reader)
                return
            except CameraLost as error:
                lost = str(error)
            except Exception as error:  # noqa: BLE001 - a camera library may raise anything; no camera ends its thread
                lost = masked_text(f"{type(error).__name__}: {error}")
                self._log.error("camera_failed", traceback=_traceback(error))
            else:
                break
            failures = 1 if shown >= STEADY_FRAMES else failures + 1
            self._enter(reader, RunnerState.LOST, lost)
            wait_s = delay_s(failures)
            self._log.warning("camera_lost", detail=lost, again_in_s=wait_s)
            self._close(reader)
            if reader.stop.wait(wait_s):
                break
            with self._lock:
                self._reconnects += 1
        self._close(reader)
        self._enter(reader, RunnerState.STOPPED)
        self._finish_sinks(reader)

    def _step(self, reader: _Reader) -> int:
        """Reads and hands on one frame; how many it was."""
        try:
            frame = self._call(reader, reader.camera.read)
        except DamagedPicture as error:
            self._log.warning("picture_damaged", detail=str(error))
            with self._lock:
                self._damaged += 1
            return 0
        if frame is None:
            return 0
        look = glimpse(frame.image)
        with self._lock:
            if self._reader is not reader:
                return 0  # too late: another thread reads the camera by now
            self._frames += 1
            self._newest = frame
            self._freshness.see(look, frame.captured_ns)
        for sink in self._sinks:
            sink.put(frame, reader.stop.is_set)
        return 1

    def _freshness_reopened(self, reader: _Reader) -> None:
        with self._lock:
            if self._reader is reader:
                self._freshness.reopened()

    def _finish_sinks(self, reader: _Reader) -> None:
        with self._lock:
            counts = self._reader is reader
        for sink in self._sinks if counts else ():
            sink.finish()

    def _call(self, reader: _Reader, call: Callable[[], T]) -> T:
        with self._lock:
            reader.calling_since_ns = self._clock.monotonic_ns()
        try:
            return call()
        finally:
            with self._lock:
                reader.calling_since_ns = None

    def _close(self, reader: _Reader) -> None:
        try:
            self._call(reader, reader.camera.close)
        except Exception as error:  # noqa: BLE001 - a camera that cannot be closed is opened afresh all the same
            self._log.error("camera_close_failed", traceback=_traceback(error))


def _alive(reader: _Reader) -> bool:
    return reader.thread is not None and reader.thread.is_alive()


def _traceback(error: Exception) -> str:
    """Where it happened, without the passwords that a library may have put into its message."""
    return masked_text("".join(traceback.format_exception(error)))
