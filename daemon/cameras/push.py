"""A camera whose pictures are handed in from outside. A full camera refuses, never drops."""

from __future__ import annotations

import queue

import numpy as np

from lineside.daemon.clock import Clock
from lineside.daemon.settings import PushCamera
from lineside.daemon.values import Frame, Picture

LONGEST_WAIT_S = 0.2


class CameraBusy(Exception):
    """The pictures handed in before are not judged yet; hand this one in again later."""


class PushSource:
    """Pictures wait in a queue of `capacity`."""

    kind = "push"
    lossless = True
    frozen_after_s = None
    source = "handed in over gRPC"

    def __init__(self, settings: PushCamera, clock: Clock) -> None:
        self.name = settings.id
        self._clock = clock
        self._waiting: queue.Queue[Frame] = queue.Queue(maxsize=settings.capacity)
        self._index = 0

    def push(self, image: Picture) -> None:
        """Hands in one BGR picture; from any thread.

        Raises:
            CameraBusy: as many pictures wait as may.
            ValueError: not a (height, width, 3) uint8 picture.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"a picture is (height, width, 3) uint8, not {image.shape} {image.dtype}")
        frame = Frame(self.name, -1, image, self._clock.monotonic_ns(), self._clock.now())
        try:
            self._waiting.put_nowait(frame)
        except queue.Full:
            raise CameraBusy(f"camera {self.name}: {self._waiting.maxsize} pictures wait already") from None

    def open(self) -> None:
        """Nothing to open; pictures handed in before are kept."""
        self._index = 0

    def read(self) -> Frame | None:
        """The next picture handed in."""
        try:
            waiting = self._waiting.get(timeout=LONGEST_WAIT_S)
        except queue.Empty:
            return None
        frame = Frame(waiting.camera, self._index, waiting.image, waiting.captured_ns, waiting.captured_at)
        self._index += 1
        return frame

    def close(self) -> None:
        """Nothing to free."""
