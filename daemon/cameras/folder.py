"""A folder of pictures as a camera, in the order people would put the names (2 before 10)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from lineside.daemon.cameras.base import CameraLost, DamagedPicture, EndOfSource
from lineside.daemon.cameras.file import LONGEST_WAIT_S
from lineside.daemon.cameras.pacing import Pacer
from lineside.daemon.clock import Clock
from lineside.daemon.settings import FolderCamera
from lineside.daemon.values import Frame

PICTURE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, 2.png before 10.png."""
    files = [path for path in folder.iterdir() if path.suffix.lower() in PICTURE_ENDINGS and path.is_file()]
    return sorted(files, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", name.lower())
    return [
        (0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts if part
    ]


class FolderSource:
    """Shows each picture once, or round and round."""

    kind = "folder"
    frozen_after_s = None

    def __init__(
        self, settings: FolderCamera, clock: Clock, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.name = settings.id
        self.source = str(settings.path)
        self.lossless = settings.fps is None
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._files: list[Path] | None = None
        self._pacer: Pacer | None = None
        self._next = 0
        self._index = 0
        self._shown_this_round = 0

    def open(self) -> None:
        """Lists the folder. Raises CameraLost when it is missing or holds no picture."""
        try:
            files = pictures_in(self._settings.path)
        except OSError as error:
            raise CameraLost(f"{self._settings.path} cannot be listed: {error.strerror}") from error
        if not files:
            raise CameraLost(f"{self._settings.path} holds no picture ({', '.join(sorted(PICTURE_ENDINGS))})")
        self._files = files
        fps = self._settings.fps
        self._pacer = Pacer(round(1e9 / fps)) if fps is not None else None
        self._next = self._index = self._shown_this_round = 0

    def read(self) -> Frame | None:
        """The next picture when it is due.

        Raises:
            EndOfSource: after the last one.
            DamagedPicture: a file that is no picture; the next call goes on behind it.
        """
        if self._files is None:
            raise CameraLost("not open")
        if self._pacer is not None:
            wait_s = self._pacer.wait_ns(self._clock.monotonic_ns()) / 1e9
            if wait_s > 0:
                self._sleep(min(wait_s, LONGEST_WAIT_S))
            if wait_s > LONGEST_WAIT_S:
                return None
        if self._next == len(self._files):
            if not self._settings.loop:
                raise EndOfSource(f"all {len(self._files)} pictures of {self._settings.path} have been shown")
            if self._shown_this_round == 0:
                raise CameraLost(f"no picture of {self._settings.path} can be read")
            self._next = self._shown_this_round = 0
        path = self._files[self._next]
        self._next += 1
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise DamagedPicture(f"{path} is not a picture that can be read")
        if self._pacer is not None:
            self._pacer.shown()
        frame = Frame(
            self.name,
            self._index,
            np.asarray(image, dtype=np.uint8),
            self._clock.monotonic_ns(),
            self._clock.now(),
        )
        self._index += 1
        self._shown_this_round += 1
        return frame

    def close(self) -> None:
        """Forgets the listing."""
        self._files = None
