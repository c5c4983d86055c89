"""Every frame is an inspection: for folders of pictures."""

from __future__ import annotations

from lineside.daemon.triggers.base import TriggerHit
from lineside.daemon.values import Frame


class EveryFrameTrigger:
    """One hit a frame."""

    ignored = 0

    def see(self, frame: Frame) -> tuple[TriggerHit, ...]:
        """This frame."""
        return (TriggerHit(frame, None, frame.captured_ns),)

    def finish(self) -> tuple[TriggerHit, ...]:
        """Nothing waits."""
        return ()
