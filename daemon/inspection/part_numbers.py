"""Ids for parts that nobody named: `<station>-<number>`, never the same number twice on one device.

Numbers are reserved in blocks, so that naming a part never waits for the disk. When no block could be
reserved in time, the time of day names the part instead: a part is never refused for want of a number.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime

from lineside.daemon.store.errors import StoreBusy

BLOCK = 1000
LOW = 100
"""A new block is asked for when so few numbers are left."""

Reserve = Callable[[str, int], "Future[range]"]


class PartNumbers:
    """Numbers of one station. Thread-safe."""

    def __init__(self, station: str, reserve: Reserve) -> None:
        self._station = station
        self._reserve = reserve
        self._lock = threading.Lock()
        self._left: list[int] = []
        self._coming: Future[range] | None = None

    def open(self) -> None:
        """Asks for the first block."""
        with self._lock:
            self._refill()

    def next_id(self, now: datetime) -> str:
        """The next part's id."""
        with self._lock:
            self._refill()
            if self._left:
                return f"{self._station}-{self._left.pop():06d}"
        return f"{self._station}-{now:%y%m%d-%H%M%S-%f}"

    def _refill(self) -> None:
        if self._coming is not None and self._coming.done():
            if self._coming.exception() is None:
                self._left = [*reversed(self._coming.result()), *self._left]
            self._coming = None
        if self._coming is None and len(self._left) < LOW:
            with suppress(StoreBusy):  # parts are named by the time until the disk takes something again
                self._coming = self._reserve(f"part.{self._station}", BLOCK)
