"""The one thread that writes: gathers what all followers hand over and stores it in groups.

Followers wait when it falls behind; a device keeps its results until they are asked for, so nothing is lost
by waiting. A database that cannot be written is tried again until it can.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from lineside.dashboard.database.connection import Database
from lineside.dashboard.ingest import states
from lineside.dashboard.ingest.arrivals import Arrival
from lineside.dashboard.ingest.ledger import Ledger
from lineside.dashboard.ingest.states import StateBoard

MOST_WAITING = 2000
LARGEST_GROUP = 500
GATHER_S = 0.05
IDLE_S = 0.3
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

log = structlog.get_logger(__name__)


class Writer:
    """The thread `ingest-writer`. `board` holds the devices' states, `hand_over` takes their results."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database, self._ledger = database, ledger
        self.board = StateBoard()
        self._waiting: queue.Queue[Arrival] = queue.Queue(MOST_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest-writer", daemon=True)
        self.stored = 0

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after what it holds was written, or cannot be. What is lost is asked for again."""
        self._stop.set()
        self._thread.join(30.0)

    def hand_over(self, arrival: Arrival, stopping: threading.Event) -> bool:
        """Takes an arrival, waiting for room; False when `stopping` was set before there was any."""
        while not stopping.is_set() and not self._stop.is_set():
            try:
                self._waiting.put(arrival, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False

    def _run(self) -> None:
        while not self._stop.is_set() or not self._waiting.empty():
            group = self._gather()
            if group and not self._insist(lambda group=group: self._store(group)):  # type: ignore[misc]
                return
            seen = self.board.take()
            if seen and not self._insist(lambda seen=seen: states.write(self._database, seen)):  # type: ignore[misc]
                return

    def _gather(self) -> list[Arrival]:
        try:
            group = [self._waiting.get(timeout=IDLE_S)]
        except queue.Empty:
            return []
        self._stop.wait(GATHER_S)  # what comes together is written together
        while len(group) < LARGEST_GROUP:
            try:
                group.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return group

    def _store(self, group: list[Arrival]) -> None:
        self.stored += self._ledger.store(group)

    def _insist(self, write: Callable[[], None]) -> bool:
        """Writes, again and again until it works; False when told to stop before it did."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                write()
                return True
            except SQLAlchemyError as error:
                log.error("cannot write to the database; trying again", error=str(error)[:500])
            if self._stop.wait(pause):
                return False
            pause = min(2 * pause, LONGEST_PAUSE_S)
