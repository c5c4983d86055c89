"""A bounded cache of pictures that fetches each one once, however many browsers ask at the same time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lineside.dashboard.devices.values import Picture


@dataclass(slots=True)
class _Entry:
    picture: Picture
    fetched_at: float


class PictureCache:
    """Pictures by key, least recently used out first. Thread-safe; failures are never kept.

    Holds at most `most_bytes` of encoded pictures and `most_pictures` of them, each for
    `keep_s` seconds at most (None: until it is pushed out).
    """

    def __init__(
        self,
        *,
        most_bytes: int,
        most_pictures: int,
        keep_s: float | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._most_bytes, self._most_pictures, self._keep_s = most_bytes, most_pictures, keep_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._fetching: dict[str, threading.Lock] = {}

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        with self._lock:
            return self._bytes

    def get(self, key: str, fetch: Callable[[], Picture]) -> Picture:
        """The picture of `key`, from `fetch` where it is not held; raises what `fetch` raises."""
        held = self._held(key)
        if held is not None:
            return held
        with self._lock:
            turn = self._fetching.setdefault(key, threading.Lock())
        with turn:
            held = self._held(key)
            if held is not None:
                return held
            try:
                picture = fetch()
                self._hold(key, picture)
                return picture
            finally:
                with self._lock:
                    self._fetching.pop(key, None)

    def _held(self, key: str) -> Picture | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if self._keep_s is not None and self._monotonic() - entry.fetched_at > self._keep_s:
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return entry.picture

    def _hold(self, key: str, picture: Picture) -> None:
        if len(picture.data) > self._most_bytes:
            return
        with self._lock:
            if key in self._entries:
                self._drop(key)
            self._entries[key] = _Entry(picture, self._monotonic())
            self._bytes += len(picture.data)
            while self._bytes > self._most_bytes or len(self._entries) > self._most_pictures:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        self._bytes -= len(self._entries.pop(key).picture.data)
