"""Whether a camera shows the present: tells frozen and black pictures from live ones. Pure.

A frozen source repeats its picture bit for bit, which a sensor with noise never does.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from lineside.daemon.values import Picture

BLACK_LEVEL = 10.0
"""A picture whose brightest hundredth is darker than this shows nothing."""


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What is kept of a picture to compare it with the next: a checksum and its near-brightest level."""

    checksum: int
    bright: float


def glimpse(image: Picture) -> Glimpse:
    """Looks at the whole picture for the checksum and at every eighth row and column for brightness."""
    whole = np.ascontiguousarray(image)
    coarse = whole[::8, ::8]
    return Glimpse(zlib.crc32(whole.data), float(np.percentile(coarse, 99)))


class Freshness:
    """Follows one camera's pictures. `frozen_after_s` None: repeats are counted but never called frozen."""

    def __init__(self, frozen_after_s: float | None) -> None:
        self._frozen_after_s = frozen_after_s
        self._last: Glimpse | None = None
        self._same_since_ns = 0
        self._seen_ns = 0
        self.repeated = 0
        """Pictures that equalled the one before."""

    def see(self, picture: Glimpse, at_ns: int) -> None:
        """The next picture; `at_ns` is monotonic."""
        if self._last is not None and picture.checksum == self._last.checksum:
            self.repeated += 1
        else:
            self._same_since_ns = at_ns
        self._last, self._seen_ns = picture, at_ns

    def reopened(self) -> None:
        """The source was opened again: the next picture is compared with none."""
        self._last = None

    @property
    def frozen_for_s(self) -> float | None:
        """How long the picture has not changed, where that is longer than it may be; else None."""
        if self._frozen_after_s is None or self._last is None:
            return None
        same_s = (self._seen_ns - self._same_since_ns) / 1e9
        return same_s if same_s >= self._frozen_after_s else None

    @property
    def black(self) -> bool:
        """Whether the newest picture shows nothing."""
        return self._last is not None and self._last.bright < BLACK_LEVEL
