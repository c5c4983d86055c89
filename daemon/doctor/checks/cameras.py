"""Does each camera show a picture?"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator

from lineside.daemon.cameras.base import Camera, CameraLost, DamagedPicture, EndOfSource
from lineside.daemon.cameras.freshness import BLACK_LEVEL, glimpse
from lineside.daemon.cameras.make import make_camera
from lineside.daemon.clock import Clock
from lineside.daemon.doctor.base import Finding, Level, Subject
from lineside.daemon.settings import CameraSettings, CsiCamera, PushCamera, V4l2Camera
from lineside.daemon.values import Frame


class CamerasCheck:
    """Opens each camera for one frame."""

    name = "camera"
    needs_settings = True

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding a camera."""
        for settings in subject.known.cameras:
            yield self._look(settings, subject)

    def _look(self, settings: CameraSettings, subject: Subject) -> Finding:
        name = settings.id
        if isinstance(settings, PushCamera):
            return Finding(self.name, Level.SKIPPED, f"{name}: pictures are handed in")
        if isinstance(settings, V4l2Camera | CsiCamera) and subject.daemon_runs:
            what = settings.device if isinstance(settings, V4l2Camera) else f"sensor {settings.sensor}"
            message = f"{name}: the daemon runs and has {what}"
            return Finding(self.name, Level.SKIPPED, message)
        camera = make_camera(settings, subject.clock)
        answer = _in_time(camera, subject.clock, subject.patience_s)
        if isinstance(answer, str):
            step = "look at cable, power, address and password; then at what the camera itself says"
            return Finding(self.name, Level.FAILED, f"{name} ({camera.source}): {answer}", step)
        height, width = answer.image.shape[:2]
        message = f"{name} ({camera.source}): {width}x{height}"
        if glimpse(answer.image).bright < BLACK_LEVEL:
            step = "look at lens cap, light and exposure"
            return Finding(self.name, Level.WARNING, f"{message}, black", step)
        return Finding(self.name, Level.OK, message)


def _in_time(camera: Camera, clock: Clock, patience_s: float) -> Frame | str:
    """One frame, or why there is none. A call into the camera that hangs is left behind in its thread."""
    answers: queue.Queue[Frame | str] = queue.Queue(1)
    thread = threading.Thread(
        target=lambda: answers.put(_first_frame(camera, patience_s)),
        name=f"doctor-{camera.name}",
        daemon=True,
    )
    thread.start()
    try:
        return answers.get(timeout=2 * patience_s)
    except queue.Empty:
        return f"no answer within {2 * patience_s:g} s"


def _first_frame(camera: Camera, patience_s: float) -> Frame | str:
    end = time.monotonic() + patience_s
    try:
        camera.open()
        while time.monotonic() < end:
            with contextlib.suppress(DamagedPicture):
                frame = camera.read()
                if frame is not None:
                    return frame
        return f"no picture within {patience_s:g} s"
    except (CameraLost, EndOfSource) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a camera library may raise anything; that is the finding
        return f"{type(error).__name__}: {error}"
    finally:
        camera.close()
