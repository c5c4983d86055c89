"""How many calls a second one caller may make: a bucket each, and a bound on the buckets. Knows no call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_CALLERS = 1024


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rates:
    """Token buckets by caller. Thread-safe. `now`: seconds that only grow.

    A caller may make `burst` calls at once and `per_s` a second in the long run. Beyond MOST_CALLERS the one
    that was away longest is forgotten, which can only do it good.
    """

    def __init__(self, per_s: float, burst: float, now: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._now = now
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str) -> float:
        """Counts a call; 0 when it may go on, else the seconds to wait before trying again."""
        now = self._now()
        with self._lock:
            bucket = self._buckets.setdefault(caller, _Bucket(self._burst, now))
            self._buckets.move_to_end(caller)
            while len(self._buckets) > MOST_CALLERS:
                self._buckets.popitem(last=False)
            bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._per_s)
            bucket.at = now
            if bucket.left < 1:
                return (1 - bucket.left) / self._per_s
            bucket.left -= 1
            return 0.0
