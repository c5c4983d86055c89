"""Where a camera's thread leaves frames and a station takes them: bounded, and what is dropped is counted.

`NewestFrame` keeps one frame, for triggers from outside. `FrameQueue` keeps every frame in order, for
triggers that follow parts: lossless, the camera waits for room; live, the oldest frame goes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from lineside.daemon.values import Frame

WAIT_S = 0.1
"""How often a camera that waits for room looks whether it was told to stop."""


class FrameSink(Protocol):
    """What a camera's thread gives frames to."""

    def put(self, frame: Frame, stopping: Callable[[], bool]) -> None:
        """Takes a frame. A lossless sink waits for room, until `stopping` says true."""
        ...

    def finish(self) -> None:
        """No more frames will come, unless the camera opens again."""
        ...

    @property
    def dropped(self) -> int:
        """Frames that nobody took."""
        ...


class NewestFrame:
    """Keeps the newest frame only. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._taken = True
        self._dropped = 0
        self._finished = False

    def put(self, frame: Frame, stopping: Callable[[], bool]) -> None:
        """Replaces the frame; one that nobody took counts as dropped."""
        with self._changed:
            self._dropped += not self._taken
            self._frame, self._taken, self._finished = frame, False, False
            self._changed.notify_all()

    def finish(self) -> None:
        """Wakes who waits; the newest frame stays to be seen."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame that was not taken before, or None when none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._finished, timeout_s)
            if self._taken:
                return None
            self._taken = True
            return self._frame

    def peek(self) -> Frame | None:
        """The newest frame, taken or not; None before the first. Its age is the caller's to judge."""
        with self._changed:
            return self._frame

    @property
    def finished(self) -> bool:
        """Whether the source has ended and everything was taken."""
        with self._changed:
            return self._finished and self._taken

    @property
    def dropped(self) -> int:
        """Frames replaced before anybody took them."""
        with self._changed:
            return self._dropped


class FrameQueue:
    """Keeps frames in order, at most `capacity`. Thread-safe."""

    def __init__(self, capacity: int, *, lossless: bool) -> None:
        if capacity < 1:
            raise ValueError(f"a queue holds at least one frame, not {capacity}")
        self._changed = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._capacity = capacity
        self._lossless = lossless
        self._dropped = 0
        self._finished = False

    def put(self, frame: Frame, stopping: Callable[[], bool]) -> None:
        """Appends the frame. When full: lossless waits for room, live drops the oldest."""
        with self._changed:
            if self._lossless:
                while len(self._frames) >= self._capacity:
                    if stopping():
                        self._dropped += 1
                        return
                    self._changed.wait(WAIT_S)
            elif len(self._frames) >= self._capacity:
                self._frames.popleft()
                self._dropped += 1
            self._frames.append(frame)
            self._finished = False
            self._changed.notify_all()

    def finish(self) -> None:
        """Wakes who waits; frames in the queue stay to be taken."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Frame | None:
        """The oldest frame, or None when none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._frames) or self._finished, timeout_s)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    @property
    def finished(self) -> bool:
        """Whether the source has ended and everything was taken."""
        with self._changed:
            return self._finished and not self._frames

    @property
    def dropped(self) -> int:
        """Frames that made room for newer ones, or that a stop cut off."""
        with self._changed:
            return self._dropped

    def __len__(self) -> int:
        with self._changed:
            return len(self._frames)
