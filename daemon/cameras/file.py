"""A video file as a camera: at its own speed as a live one, or every frame as fast as it is judged."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np

from lineside.daemon.cameras.base import CameraLost, EndOfSource
from lineside.daemon.cameras.pacing import Pacer
from lineside.daemon.clock import Clock
from lineside.daemon.settings import FileCamera
from lineside.daemon.values import Frame

LONGEST_WAIT_S = 0.2
"""A read returns after so long at most, so that its thread can be stopped."""
DEFAULT_FPS = 25.0
"""For files that do not say."""


class FileSource:
    """Plays one file."""

    kind = "file"
    frozen_after_s = None

    def __init__(
        self, settings: FileCamera, clock: Clock, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.name = settings.id
        self.source = str(settings.path)
        self.lossless = not settings.realtime
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._video: cv2.VideoCapture | None = None
        self._pacer: Pacer | None = None
        self._frame_ns = 0
        self._index = 0
        self._frames_this_round = 0

    def open(self) -> None:
        """Opens the file. Raises CameraLost when it is missing or no video."""
        self.close()
        if not self._settings.path.is_file():
            raise CameraLost(f"there is no file {self._settings.path}")
        video = cv2.VideoCapture(str(self._settings.path))
        if not video.isOpened():
            raise CameraLost(f"{self._settings.path} is not a video that can be read")
        fps = video.get(cv2.CAP_PROP_FPS)
        fps = fps if np.isfinite(fps) and 0 < fps <= 1000 else DEFAULT_FPS
        self._video = video
        self._frame_ns = round(1e9 / fps)
        self._pacer = Pacer(self._frame_ns) if self._settings.realtime else None
        self._index = self._frames_this_round = 0

    def read(self) -> Frame | None:
        """The next frame when it is due. Raises EndOfSource after the last one."""
        if self._video is None:
            raise CameraLost("not open")
        if self._pacer is not None:
            wait_s = self._pacer.wait_ns(self._clock.monotonic_ns()) / 1e9
            if wait_s > 0:
                self._sleep(min(wait_s, LONGEST_WAIT_S))
            if wait_s > LONGEST_WAIT_S:
                return None
            self._pacer.shown()
        done, image = self._video.read()
        if not done:
            self._rewind()
            return None
        frame = Frame(
            self.name,
            self._index,
            np.asarray(image, dtype=np.uint8),
            self._clock.monotonic_ns(),
            self._clock.now(),
            played_ns=None if self._settings.realtime else self._index * self._frame_ns,
        )
        self._index += 1
        self._frames_this_round += 1
        return frame

    def _rewind(self) -> None:
        if not self._settings.loop:
            raise EndOfSource(f"{self._settings.path} has ended")
        if self._frames_this_round == 0:
            raise CameraLost(f"{self._settings.path} holds no frame")
        assert self._video is not None
        self._video.release()
        # Opened afresh: seeking to the first frame is not exact in every container.
        self._video = cv2.VideoCapture(str(self._settings.path))
        if not self._video.isOpened():
            raise CameraLost(f"{self._settings.path} went away")
        self._frames_this_round = 0

    def close(self) -> None:
        """Closes the file."""
        if self._video is not None:
            self._video.release()
            self._video = None
