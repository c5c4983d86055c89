"""An RTSP or HTTP stream through OpenCV's FFmpeg, with timeouts on opening and reading.

Reading as fast as frames come keeps delay from growing: what nobody took is dropped by the slot, not queued.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from lineside.daemon.cameras.base import CameraLost
from lineside.daemon.clock import Clock
from lineside.daemon.secrets import masked_url
from lineside.daemon.settings import StreamCamera
from lineside.daemon.values import Frame

OPEN_TIMEOUT_MS = 8_000
READ_TIMEOUT_MS = 5_000

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


class _FfmpegOptions:
    """OpenCV takes FFmpeg's options from the environment of the process, as it opens a stream.

    Streams that want the same options open side by side: one whose opening hangs holds up no other of its
    transport.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._opening = 0
        self._now = ""

    @contextmanager
    def holding(self, options: str) -> Iterator[None]:
        """While inside, a stream opens with these. Raises CameraLost: others hold other ones for too long."""
        with self._changed:
            free = self._changed.wait_for(
                lambda: not self._opening or self._now == options, 2 * OPEN_TIMEOUT_MS / 1000
            )
            if not free:
                raise CameraLost("another stream, with another transport, has been opening for too long")
            self._opening += 1
            self._now = os.environ[_OPTIONS] = options
        try:
            yield
        finally:
            with self._changed:
                self._opening -= 1
                if not self._opening:
                    os.environ.pop(_OPTIONS, None)
                self._changed.notify_all()


_ffmpeg = _FfmpegOptions()


class StreamSource:
    """One network stream."""

    kind = "stream"
    lossless = False

    def __init__(self, settings: StreamCamera, clock: Clock) -> None:
        self.name = settings.id
        self.source = masked_url(settings.url)
        self.frozen_after_s = settings.frozen_after_s
        self._settings = settings
        self._clock = clock
        self._stream: cv2.VideoCapture | None = None
        self._index = 0

    def renewed(self) -> StreamSource:
        """A second object for the same source: a call into the first does not come back."""
        return StreamSource(self._settings, self._clock)

    def open(self) -> None:
        """Connects. Raises CameraLost when nothing answers in time."""
        self.close()
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            OPEN_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            READ_TIMEOUT_MS,
        ]
        with _ffmpeg.holding(f"rtsp_transport;{self._settings.transport}|fflags;nobuffer"):
            stream = cv2.VideoCapture(self._settings.url, cv2.CAP_FFMPEG, limits)
        if not stream.isOpened():
            stream.release()
            raise CameraLost(
                f"{self.source} does not answer with a picture within {OPEN_TIMEOUT_MS / 1000:g} s"
            )
        self._stream = stream
        self._index = 0

    def read(self) -> Frame | None:
        """The next frame. Raises CameraLost when the stream ends or nothing comes in time."""
        if self._stream is None:
            raise CameraLost("not open")
        done, image = self._stream.read()
        if not done:
            raise CameraLost(f"{self.source} stopped sending")
        frame = Frame(
            self.name,
            self._index,
            np.asarray(image, dtype=np.uint8),
            self._clock.monotonic_ns(),
            self._clock.now(),
        )
        self._index += 1
        return frame

    def close(self) -> None:
        """Disconnects."""
        if self._stream is not None:
            self._stream.release()
            self._stream = None
