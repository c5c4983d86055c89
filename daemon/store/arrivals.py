"""Who waits for results to become durable: watchers of the sequence, and callers who wait for one result.

It knows nothing of the database.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from lineside.daemon.values import Result


class Arrivals:
    """The last sequence, and a bell that rings when it moves. Thread-safe."""

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._last = 0
        self._closed = False
        self._expected: dict[str, list[Future[Result | None]]] = {}

    def start_at(self, sequence: int) -> None:
        """Sets the last sequence found at start."""
        with self._moved:
            self._last = sequence

    def announce(self, results: Sequence[Result]) -> None:
        """Tells of results that are durable now."""
        if not results:
            return
        with self._moved:
            self._last = max(self._last, *(result.sequence for result in results))
            told = [(f, result) for result in results for f in self._expected.pop(result.result_id, ())]
            self._moved.notify_all()
        for future, result in told:
            future.set_result(result)

    def last(self) -> int:
        """The last durable sequence."""
        with self._moved:
            return self._last

    def wait_beyond(self, sequence: int, timeout_s: float) -> bool:
        """Waits until the last sequence is beyond `sequence`; False after `timeout_s`, or when closed."""
        with self._moved:
            self._moved.wait_for(lambda: self._last > sequence or self._closed, timeout_s)
            return self._last > sequence

    @contextmanager
    def expect(self, result_id: str) -> Iterator[Future[Result | None]]:
        """A future of one result, if it becomes durable from now on; None when the store closes."""
        future: Future[Result | None] = Future()
        with self._moved:
            if self._closed:
                future.set_result(None)
            else:
                self._expected.setdefault(result_id, []).append(future)
        try:
            yield future
        finally:
            with self._moved:
                waiting = self._expected.get(result_id, [])
                if future in waiting:
                    waiting.remove(future)
                if not waiting:
                    self._expected.pop(result_id, None)

    def close(self) -> None:
        """Wakes everybody; nothing more will come."""
        with self._moved:
            self._closed = True
            left = [future for waiting in self._expected.values() for future in waiting]
            self._expected.clear()
            self._moved.notify_all()
        for future in left:
            future.set_result(None)
