"""The seat of the engine that judges: asks go to whichever worker sits here; it may change while parts come.

A new engine is loaded and prepared beside the old one, and takes the seat only when it can answer: both need
memory for that while, and where there is none the new one is refused and nothing changes. Asks that the old
one has are answered by it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait

import structlog

from lineside.daemon.clock import Clock
from lineside.daemon.engine_worker.client import EngineWorker
from lineside.daemon.engine_worker.messages import Ask, EngineProblem
from lineside.daemon.engine_worker.settings import WorkerSettings, WorkerState, WorkerStatus
from lineside.daemon.liveness import Pulse
from lineside.engines.base import Answer, EngineInfo, Grammar, Prompt

DRAIN_S = 30.0
LOOK_EVERY_S = 0.2
LOG = structlog.get_logger("engine")
Question = tuple[Prompt, Grammar]


class EngineRefused(Exception):
    """An engine that cannot take the seat; the one that sits there goes on."""


class EngineSeat:
    """As `EngineWorker`, whoever sits here. Thread-safe.

    A thread that asks and then reads `info` is told of the engine that it asked, also when another one has
    taken the seat in between: a result must not name an engine that did not judge it.
    """

    def __init__(self, settings: WorkerSettings, clock: Clock) -> None:
        self._clock = clock
        self._worker = EngineWorker(settings, clock)
        self._asked = threading.local()
        self._switching = threading.Lock()
        self._stopping = threading.Event()
        self._counting = threading.Lock()
        self._under_way: Counter[int] = Counter()

    def open(self) -> None:
        """Begins to start the engine process and returns at once."""
        self._worker.open()

    def close(self) -> None:
        """Ends the engine process; a switch under way is given up first."""
        self._stopping.set()
        with self._switching:
            self._worker.close()

    @property
    def state(self) -> WorkerState:
        """Where the engine stands now."""
        return self._worker.state

    @property
    def info(self) -> EngineInfo | None:
        """The engine that this thread asked last, else the one that sits here; None until one was loaded."""
        worker: EngineWorker = getattr(self._asked, "worker", self._worker)
        return worker.info

    def wait_until_loaded(self, timeout_s: float) -> WorkerState:
        """Waits until the engine is READY or FAILED, at most `timeout_s`; gives the state then."""
        return self._worker.wait_until_loaded(timeout_s)

    def status(self) -> WorkerStatus:
        """A picture of the worker for health pages and metrics."""
        return self._worker.status()

    def pulse(self) -> Pulse:
        """The supervising thread's sign of life."""
        return self._worker.pulse()

    def submit(self, asks: Sequence[Ask]) -> Future[list[Answer | EngineProblem]]:
        """Asks the engine; as `EngineWorker.submit`."""
        with self._counting:
            worker = self._asked.worker = self._worker
            self._under_way[id(worker)] += 1
        try:
            future = worker.submit(asks)
        except BaseException:
            self._answered(worker)
            raise
        future.add_done_callback(lambda _: self._answered(worker))
        return future

    def warm(self, prompt: Prompt, grammar: Grammar) -> Future[EngineProblem | None]:
        """Has a question prepared; as `EngineWorker.warm`."""
        return self._worker.warm(prompt, grammar)

    def switch(
        self,
        settings: WorkerSettings,
        questions: Callable[[], Sequence[Question]],
        timeout_s: float,
        told: Callable[[str], None],
    ) -> None:
        """Loads another engine, has it prepare all questions, and gives it the seat. Waits for all of that.

        Raises:
            EngineRefused: it cannot be loaded in `timeout_s`, or cannot ask a question; nothing has changed.
        """
        with self._switching:
            fresh = EngineWorker(settings, self._clock)
            fresh.open()
            try:
                told("loading")
                self._load(fresh, timeout_s)
                told("preparing questions")
                self._prepare(fresh, questions(), timeout_s)
            except BaseException:
                fresh.close()
                raise
            with self._counting:
                old, self._worker = self._worker, fresh
            told("letting the engine before finish")
            end = time.monotonic() + DRAIN_S
            while (
                self._under_way[id(old)] and time.monotonic() < end and not self._stopping.wait(LOOK_EVERY_S)
            ):
                pass
            old.close()
            del self._under_way[id(old)]
            LOG.info("another engine judges", bundle=str(settings.bundle))

    def _answered(self, worker: EngineWorker) -> None:
        with self._counting:
            self._under_way[id(worker)] -= 1

    def _load(self, fresh: EngineWorker, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while (state := fresh.wait_until_loaded(LOOK_EVERY_S)) is not WorkerState.READY:
            if state is WorkerState.FAILED:
                raise EngineRefused(f"the engine cannot be started: {fresh.status().detail}")
            if self._stopping.is_set():
                raise EngineRefused("the device is stopping")
            if time.monotonic() >= end:
                raise EngineRefused(f"the engine was not ready after {timeout_s:g} s")

    def _prepare(self, fresh: EngineWorker, questions: Sequence[Question], timeout_s: float) -> None:
        warmed = [fresh.warm(prompt, grammar) for prompt, grammar in questions]
        done, late = wait(warmed, timeout=timeout_s)
        if late:
            raise EngineRefused(f"the engine had not prepared {len(late)} questions after {timeout_s:g} s")
        for future in done:
            problem = future.result()
            if problem is not None:
                raise EngineRefused(f"the engine refuses a question of an active recipe: {problem.message}")
