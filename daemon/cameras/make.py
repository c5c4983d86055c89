"""The one list of camera kinds: from settings to a camera, without opening it."""

from __future__ import annotations

from typing import assert_never

from lineside.daemon.cameras.base import Camera
from lineside.daemon.cameras.file import FileSource
from lineside.daemon.cameras.folder import FolderSource
from lineside.daemon.cameras.gstreamer import GstreamerSource
from lineside.daemon.cameras.push import PushSource
from lineside.daemon.cameras.stream import StreamSource
from lineside.daemon.cameras.v4l2 import V4l2Source
from lineside.daemon.clock import Clock
from lineside.daemon.settings import (
    CameraSettings,
    CsiCamera,
    FileCamera,
    FolderCamera,
    GstreamerCamera,
    PushCamera,
    StreamCamera,
    V4l2Camera,
)


def make_camera(settings: CameraSettings, clock: Clock) -> Camera:
    """The camera these settings describe."""
    match settings:
        case FileCamera():
            return FileSource(settings, clock)
        case FolderCamera():
            return FolderSource(settings, clock)
        case StreamCamera():
            return StreamSource(settings, clock)
        case V4l2Camera():
            return V4l2Source(settings, clock)
        case CsiCamera() | GstreamerCamera():
            return GstreamerSource(settings, clock)
        case PushCamera():
            return PushSource(settings, clock)
        case _:
            assert_never(settings)
