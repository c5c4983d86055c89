"""One inspection every so often, by the frames' own time or by their number.

After a gap in the frames there is one inspection, not one for each that was missed.
"""

from __future__ import annotations

from lineside.daemon.triggers.base import TriggerHit
from lineside.daemon.triggers.options import IntervalOptions
from lineside.daemon.values import Frame


class IntervalTrigger:
    """Hits on the first frame, then on the first one in each period."""

    ignored = 0

    def __init__(self, options: IntervalOptions) -> None:
        self._period_ns = None if options.every_ms is None else options.every_ms * 1_000_000
        self._every_frames = options.every_frames
        self._due_ns: int | None = None
        self._seen = 0

    def see(self, frame: Frame) -> tuple[TriggerHit, ...]:
        """This frame, when it is due."""
        if not self._is_due(frame.captured_ns):
            return ()
        return (TriggerHit(frame, None, frame.captured_ns),)

    def _is_due(self, at_ns: int) -> bool:
        if self._every_frames is not None:
            self._seen += 1
            return (self._seen - 1) % self._every_frames == 0
        assert self._period_ns is not None, "options hold one of the two"
        if self._due_ns is None:
            self._due_ns = at_ns
        if at_ns < self._due_ns:
            return False
        self._due_ns += ((at_ns - self._due_ns) // self._period_ns + 1) * self._period_ns
        return True

    def finish(self) -> tuple[TriggerHit, ...]:
        """The next source starts afresh."""
        self._due_ns, self._seen = None, 0
        return ()
