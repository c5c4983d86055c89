"""A bound on calls that hold a thread for long. Knows no call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lineside.daemon.rpc.errors import exhausted


class Slots:
    """At most `limit` holders at a time; one more is refused at once, never queued.

    `what` names the holders in the refusal ("watchers").
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._free = threading.Semaphore(limit)

    @contextmanager
    def take(self) -> Iterator[None]:
        """Holds a slot. Raises RpcFault RESOURCE_EXHAUSTED when there is none."""
        if not self._free.acquire(blocking=False):
            raise exhausted(self._what, self._limit)
        try:
            yield
        finally:
            self._free.release()
