"""When the next frame of a recording is due, so that a file plays at its own speed."""

from __future__ import annotations


class Pacer:
    """A schedule of frames. Late frames come at once; after a pause of over a second it starts afresh."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._due_ns: int | None = None

    def wait_ns(self, now_ns: int) -> int:
        """How long from now until the next frame is due; 0 when it is."""
        if self._due_ns is None or now_ns - self._due_ns > 1_000_000_000:
            self._due_ns = now_ns
        return max(self._due_ns - now_ns, 0)

    def shown(self) -> None:
        """The frame that was due has been shown."""
        assert self._due_ns is not None, "wait_ns comes first"
        self._due_ns += self._period_ns
