"""The last seconds of a camera, for questions that look at a clip: thinned, bounded, nothing where unasked.

One sink a station. Knows frames and times; does not know regions, recipes' questions or engines.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from lineside.daemon.recipes.sight import ClipOption
from lineside.daemon.values import Frame

LAG_NS = 2_000_000_000
"""A trigger names a frame that old at most: the motion trigger waits until the part has passed."""
MOST_BYTES = 512 * 2**20
"""Of kept pictures; beyond it the oldest goes, and a clip that misses it is not judged."""


class RecentFrames:
    """Keeps what the clips of the active recipe may need. Thread-safe; a `FrameSink`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._spacing_ns = 0
        self._span_ns = 0

    def keep(self, clips: Iterable[ClipOption]) -> None:
        """From now on enough for these clips; for none, nothing is kept."""
        wanted = tuple(clips)
        with self._lock:
            # Half an interval: the nearest picture is then a quarter of an interval off at most.
            self._spacing_ns = min((clip.interval_ns // 2 for clip in wanted), default=0)
            self._span_ns = max((round(clip.seconds * 1e9) + LAG_NS for clip in wanted), default=0)
            if not wanted:
                self._clear()

    def put(self, frame: Frame, stopping: Callable[[], bool]) -> None:
        """Takes a frame, or lets it pass where one as near in time is kept. Never waits."""
        with self._lock:
            if not self._span_ns:
                return
            if self._frames and frame.index <= self._frames[-1].index:
                self._clear()  # the source was opened again
            if self._frames and _moment(frame) - _moment(self._frames[-1]) < self._spacing_ns:
                return
            self._frames.append(frame)
            self._bytes += frame.image.nbytes
            oldest_ns = _moment(frame) - self._span_ns
            while self._bytes > MOST_BYTES or _moment(self._frames[0]) < oldest_ns:
                self._bytes -= self._frames.popleft().image.nbytes

    def finish(self) -> None:
        """What was seen stays to be asked about."""

    @property
    def dropped(self) -> int:
        """None: frames that are let pass were not promised to anybody."""
        return 0

    @property
    def size_bytes(self) -> int:
        """What the kept pictures hold together."""
        with self._lock:
            return self._bytes

    def clip(self, last: Frame, wanted: ClipOption) -> tuple[Frame, ...]:
        """The clip that ends with `last`, oldest first; fewer pictures than wanted where some are missing.

        Each is the kept picture nearest to its moment, at most half an interval off, and none comes twice.
        """
        with self._lock:
            before = [frame for frame in self._frames if frame.index < last.index]
        found: list[Frame] = []
        for steps in range(wanted.frames - 1, 0, -1):
            moment_ns = _moment(last) - steps * wanted.interval_ns
            near = [frame for frame in before if abs(_moment(frame) - moment_ns) * 2 <= wanted.interval_ns]
            best = min(near, key=lambda frame: abs(_moment(frame) - moment_ns), default=None)
            if best is not None and (not found or best.index > found[-1].index):
                found.append(best)
        return (*found, last)

    def _clear(self) -> None:
        self._frames.clear()
        self._bytes = 0


def _moment(frame: Frame) -> int:
    return frame.captured_ns if frame.played_ns is None else frame.played_ns
