"""A camera behind a GStreamer pipeline in a process of its own: CSI sensors, and streams that a chip decodes.

`gst-launch-1.0` writes YUV4MPEG2, which says its size, to a pipe. A process, because OpenCV's wheels have no
GStreamer in them, and because a pipeline that hangs or crashes can be ended without taking the daemon along.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import tempfile
import time
from typing import IO

import cv2
import numpy as np

from lineside.daemon.cameras.base import CameraLost
from lineside.daemon.clock import Clock
from lineside.daemon.secrets import masked_text
from lineside.daemon.settings import CsiCamera, GstreamerCamera
from lineside.daemon.values import Frame

LAUNCHER = "gst-launch-1.0"
OPEN_TIMEOUT_S, READ_TIMEOUT_S = 15.0, 5.0
ENDING = (
    "! queue leaky=downstream max-size-buffers=2 max-size-time=0 max-size-bytes=0 "
    "! videoconvert ! video/x-raw,format=I420 ! y4menc ! fdsink fd=1 sync=false"
)
"""What every pipeline ends with: a late reader loses the oldest frames, and never sees old ones."""
_MOST_HEADER = 256
_PASSWORD = re.compile(r"\b((?:user|proxy)-pw|password)=\S+")
_HEADER = re.compile(rb"YUV4MPEG2 (?=.*\bW(\d+))(?=.*\bH(\d+)).*")


def csi_pipeline(settings: CsiCamera) -> str:
    """A sensor on a Jetson's camera connector, through its image processor."""
    caps = (
        f"video/x-raw(memory:NVMM),width={settings.width},height={settings.height},framerate={settings.fps}/1"
    )
    return f"nvarguscamerasrc sensor-id={settings.sensor} ! '{caps}' ! nvvidconv"


def picture_size(header: bytes) -> tuple[int, int]:
    """(width, height) of a YUV4MPEG2 stream from its first line.

    Raises:
        CameraLost: it is none, or not of pictures with halved colour (I420).
    """
    found = _HEADER.fullmatch(header)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    halved = b" C" not in header or b" C420" in header
    if not (0 < width <= 16384 and 0 < height <= 16384 and width % 2 == height % 2 == 0 and halved):
        raise CameraLost(f"the pipeline gives no pictures that can be read ({header[:80]!r})")
    return width, height


class GstreamerSource:
    """One pipeline."""

    lossless = False

    def __init__(self, settings: CsiCamera | GstreamerCamera, clock: Clock) -> None:
        self.name = settings.id
        self.kind = settings.kind
        self.frozen_after_s = settings.frozen_after_s
        self._pipeline = csi_pipeline(settings) if isinstance(settings, CsiCamera) else settings.pipeline
        self.source = masked_text(_PASSWORD.sub(r"\1=***", self._pipeline))
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._size = (0, 0)
        self._index = 0

    def open(self) -> None:
        """Starts the pipeline. Raises CameraLost: GStreamer is missing, or no picture comes."""
        self.close()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the pipeline
        command = [LAUNCHER, "-q", *shlex.split(self._pipeline), *shlex.split(ENDING)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said, bufsize=0
            )
        except FileNotFoundError as error:
            self.close()
            raise CameraLost(
                f"{LAUNCHER} is not installed: apt install gstreamer1.0-tools gstreamer1.0-plugins-good"
            ) from error
        try:
            self._size = picture_size(self._line(OPEN_TIMEOUT_S))
        except CameraLost:
            self.close()
            raise
        self._index = 0

    def read(self) -> Frame | None:
        """The next frame. Raises CameraLost when the pipeline ends or nothing comes in time."""
        if not self._line(READ_TIMEOUT_S).startswith(b"FRAME"):
            raise CameraLost(f"{self.source} lost its way between two pictures")
        width, height = self._size
        data = self._exactly(width * height * 3 // 2, READ_TIMEOUT_S)
        planes = np.frombuffer(data, np.uint8).reshape(height * 3 // 2, width)
        image = np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), dtype=np.uint8)
        frame = Frame(self.name, self._index, image, self._clock.monotonic_ns(), self._clock.now())
        self._index += 1
        return frame

    def close(self) -> None:
        """Ends the pipeline."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self._said is not None:
            self._said.close()
            self._said = None

    def _line(self, within_s: float) -> bytes:
        found = bytearray()
        until = time.monotonic() + within_s
        while len(found) < _MOST_HEADER:
            byte = self._some(1, until)
            if byte == b"\n":
                return bytes(found)
            found += byte
        raise CameraLost(f"{self.source} writes something else than pictures")

    def _exactly(self, size: int, within_s: float) -> bytearray:
        found = bytearray()
        until = time.monotonic() + within_s
        while len(found) < size:
            found += self._some(size - len(found), until)
        return found

    def _some(self, most: int, until: float) -> bytes:
        if self._process is None or self._process.stdout is None:
            raise CameraLost("not open")
        stream = self._process.stdout.fileno()
        ready, _, _ = select.select([stream], [], [], max(until - time.monotonic(), 0.0))
        if not ready:
            raise CameraLost(f"{self.source} gave no picture in time{self._last_words()}")
        data = os.read(stream, most)
        if not data:
            raise CameraLost(f"{self.source} ended{self._last_words()}")
        return data

    def _last_words(self) -> str:
        """What GStreamer said of it: its last error, without passwords."""
        if self._said is None:
            return ""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        lines = [line for line in lines if "ERROR" in line or "erroneous" in line]
        return f": {masked_text(lines[-1].strip())}" if lines else ""
