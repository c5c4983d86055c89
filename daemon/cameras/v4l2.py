"""A camera of Linux (USB, CSI) through Video4Linux.

Asks for motion JPEG, which most USB cameras need for full speed, and refuses another picture size than asked.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lineside.daemon.cameras.base import CameraLost
from lineside.daemon.clock import Clock
from lineside.daemon.settings import V4l2Camera
from lineside.daemon.values import Frame


class V4l2Source:
    """One device node."""

    kind = "v4l2"
    lossless = False

    def __init__(self, settings: V4l2Camera, clock: Clock) -> None:
        self.name = settings.id
        self.source = settings.device
        self.frozen_after_s = settings.frozen_after_s
        self._settings = settings
        self._clock = clock
        self._device: cv2.VideoCapture | None = None
        self._index = 0

    def renewed(self) -> V4l2Source:
        """A second object for the same source: a call into the first does not come back."""
        return V4l2Source(self._settings, self._clock)

    def open(self) -> None:
        """Opens and sets the device. Raises CameraLost: it is missing, busy, or has no such picture size."""
        self.close()
        wanted = self._settings
        if not Path(wanted.device).exists():
            raise CameraLost(f"there is no {wanted.device}: is the camera plugged in?")
        device = cv2.VideoCapture(wanted.device, cv2.CAP_V4L2)
        if not device.isOpened():
            device.release()
            raise CameraLost(f"{wanted.device} is busy, not a camera, or may not be read by this user")
        device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        device.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width)
        device.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height)
        device.set(cv2.CAP_PROP_FPS, wanted.fps)
        device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        given = (round(device.get(cv2.CAP_PROP_FRAME_WIDTH)), round(device.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        if given != (wanted.width, wanted.height):
            device.release()
            raise CameraLost(
                f"{wanted.device} gives {given[0]}x{given[1]} and not {wanted.width}x{wanted.height}: "
                "set a size that it has"
            )
        self._device = device
        self._index = 0

    def read(self) -> Frame | None:
        """The next frame. Raises CameraLost when the device stops."""
        if self._device is None:
            raise CameraLost("not open")
        done, image = self._device.read()
        if not done:
            raise CameraLost(f"{self.source} stopped giving pictures")
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
        """Frees the device."""
        if self._device is not None:
            self._device.release()
            self._device = None
