"""Asks every device every few seconds how it is, with a few threads for all of them.

Whether a device is silent is decided by these short calls with deadlines, not by the long watch, whose break
may go unnoticed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import grpc
import structlog

from lineside.dashboard.devices import translate
from lineside.dashboard.devices.channel import Channel
from lineside.dashboard.ingest.follow import Follower, words_for
from lineside.dashboard.ingest.states import State, StateBoard

THREADS = 24
TICK_S = 0.1

log = structlog.get_logger(__name__)


class Probes:
    """The thread `probes` and the pool it gives work to. `every_s`: how often, by how many there are."""

    def __init__(
        self, board: StateBoard, every_s: Callable[[int], float], now: Callable[[], datetime]
    ) -> None:
        self._board, self._every_s, self._now = board, every_s, now
        self._lock = threading.Lock()
        self._asked: dict[int, tuple[Channel, Follower]] = {}
        self._due: dict[int, float] = {}
        self._busy: set[int] = set()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="probe")
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and waits for calls in flight, which have deadlines."""
        self._stop.set()
        self._thread.join(10.0)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, row: int, channel: Channel, follower: Follower) -> None:
        """Asks this device from now on."""
        with self._lock:
            self._asked[row] = (channel, follower)
            self._due[row] = time.monotonic()

    def remove(self, row: int) -> None:
        """Asks it no more."""
        with self._lock:
            self._asked.pop(row, None)
            self._due.pop(row, None)

    def _run(self) -> None:
        while not self._stop.wait(TICK_S):
            at = time.monotonic()
            with self._lock:
                due = [row for row, when in self._due.items() if when <= at and row not in self._busy]
                self._busy.update(due)
                for row in due:
                    self._due[row] = at + self._every_s(len(self._asked))
            for row in due:
                self._pool.submit(self._ask, row)

    def _ask(self, row: int) -> None:
        try:
            with self._lock:
                asked = self._asked.get(row)
            if asked is None or self._stop.is_set():
                return
            channel, follower = asked
            try:
                state = self._answer(channel, follower)
                if state is not None:
                    self._board.put(state)
            except grpc.RpcError as error:
                self._board.put(State(self._row_of(row, follower), self._now(), trouble=words_for(error)))
        except Exception:
            # The pool's edge: a device that sends nonsense greys out, and says so.
            words = "the device sent something this dashboard does not understand"
            self._board.put(State(row, self._now(), trouble=words))
            log.exception("probe failed", row=row)
        finally:
            with self._lock:
                self._busy.discard(row)

    def _answer(self, channel: Channel, follower: Follower) -> State | None:
        device = translate.device(channel.device())
        stations = tuple(translate.station(s) for s in channel.stations())
        cameras = tuple(translate.camera(c) for c in channel.cameras())
        place = follower.place
        if place is None:
            return None  # not known yet whose state it would be
        follower.compare(device.last_sequence)
        return State(place.device_id, self._now(), device=device, stations=stations, cameras=cameras)

    @staticmethod
    def _row_of(row: int, follower: Follower) -> int:
        return follower.place.device_id if follower.place is not None else row
