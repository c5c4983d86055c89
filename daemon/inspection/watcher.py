"""Looks at a camera's frames for parts: one named thread a station.

Where parts are triggered from outside (MQTT, gRPC) it only passes frames by. Judges nothing itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from lineside.daemon.cameras.slot import FrameQueue
from lineside.daemon.inspection.station import Station
from lineside.daemon.liveness import Pulse
from lineside.daemon.triggers.base import FrameTrigger, TriggerHit
from lineside.daemon.values import Frame, Reason, TriggerKind

QUEUE_FRAMES = 64
"""Frames that may wait to be looked at: two seconds of a usual camera, then the oldest goes, counted."""
LOSSLESS_QUEUE_FRAMES = 8
"""The same where the source waits: short, so that no frame grows old in it."""

LOG = structlog.get_logger("trigger")


class Watcher:
    """Feeds frames to a trigger and hands each part it finds to the station."""

    def __init__(
        self,
        station: Station,
        trigger: FrameTrigger | None,
        kind: TriggerKind,
        *,
        lossless: bool,
        trouble: Callable[[], Reason | None],
    ) -> None:
        """`trouble` says why the camera's pictures may not be judged now; None when they may."""
        self.frames = FrameQueue(LOSSLESS_QUEUE_FRAMES if lossless else QUEUE_FRAMES, lossless=lossless)
        self._station = station
        self._trigger = trigger
        self._kind = kind
        self._trouble = trouble
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._idle = threading.Event()
        self._turns = 0
        self._missed = 0
        self._thread = threading.Thread(target=self._run, name=f"trigger:{station.name}", daemon=True)

    def use(self, trigger: FrameTrigger | None, kind: TriggerKind) -> None:
        """Another trigger from the next frame on; None: parts are triggered from outside."""
        with self._lock:
            self._trigger, self._kind = trigger, kind

    def open(self) -> None:
        """Starts looking."""
        self._thread.start()

    def close(self) -> None:
        """Stops looking; parts found so far stay with the station."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def finished(self) -> bool:
        """Whether the source has ended and every frame of it was looked at."""
        return self._idle.is_set()

    @property
    def missed(self) -> int:
        """Parts that were seen and could not be accepted: the store took no more."""
        return self._missed

    def pulse(self) -> Pulse:
        """The thread's sign of life. A turn may have to wait until the station has judged a part."""
        return Pulse(self._thread.name, self._thread.is_alive(), self._turns, self._station.longest_turn_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._turns += 1
            frame = self.frames.take(0.1)
            with self._lock:
                trigger, kind = self._trigger, self._kind
            try:
                hits = self._look(trigger, frame)
            except Exception:
                # The loop's edge: one odd frame must not end a station's triggering.
                LOG.exception("looking for parts failed", station=self._station.name)
                hits = ()
            for hit in hits:
                self._accept(hit, kind)
            if frame is None and self.frames.finished:
                # Also where looking for the last part failed: it is not asked for a second time.
                self._idle.set()

    def _accept(self, hit: TriggerHit, kind: TriggerKind) -> None:
        self._turns += 1
        try:
            trouble = self._trouble()
            self._station.trigger(hit.frame, kind=kind, part_box=hit.part_box, trouble=trouble, must=True)
        except Exception:
            # The loop's edge: one part that cannot be taken must not end the watching for good.
            self._missed += 1
            LOG.exception("a part was seen and could not be accepted", station=self._station.name)

    def _look(self, trigger: FrameTrigger | None, frame: Frame | None) -> tuple[TriggerHit, ...]:
        if frame is not None:
            self._idle.clear()
            return trigger.see(frame) if trigger is not None else ()
        if self.frames.finished and not self._idle.is_set() and trigger is not None:
            # The last part may still be on its way past the centre.
            return trigger.finish()
        return ()
