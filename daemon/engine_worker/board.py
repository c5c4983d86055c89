"""What the supervising thread writes down and every other thread may read: state, engine, counts.

Thread-safe; knows no process.
"""

from __future__ import annotations

import threading

from lineside.daemon.engine_worker.settings import WorkerState
from lineside.engines.base import EngineInfo


class Board:
    """Read the fields under `changed`; write them through the methods."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.state = WorkerState.STOPPED
        self.detail = "not opened"
        self.info: EngineInfo | None = None
        self.pid: int | None = None
        self.starts = 0
        self.answered = 0
        self.failed = 0
        self.last_answer_ns: int | None = None

    def enter(self, state: WorkerState, detail: str, info: EngineInfo | None = None) -> None:
        """A new state, and why."""
        with self.changed:
            self.state = state
            self.detail = detail
            self.info = info or self.info
            self.changed.notify_all()

    def started(self, pid: int | None) -> None:
        """A start was tried; `pid` is None where it failed."""
        with self.changed:
            self.starts += 1
            self.pid = pid

    def ended(self) -> None:
        """There is no process now."""
        with self.changed:
            self.pid = None

    def count(self, *, answered: bool, now_ns: int) -> None:
        """One ask is over."""
        with self.changed:
            if answered:
                self.answered += 1
                self.last_answer_ns = now_ns
            else:
                self.failed += 1
