"""The daemon's side of the engine process: where the rest of the daemon asks, and learns how it stands.

Every future resolves exactly once, whatever happens to the process. Knows nothing of recipes, deadlines or
verdicts: a caller that cannot wait cancels its future. `supervisor` keeps the process running.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from lineside.daemon.clock import Clock
from lineside.daemon.engine_worker.backlog import AskTicket, Backlog, WarmTicket, Work
from lineside.daemon.engine_worker.board import Board
from lineside.daemon.engine_worker.frames import FrameSlots
from lineside.daemon.engine_worker.messages import Ask, EngineProblem, ProblemKind, WarmUp
from lineside.daemon.engine_worker.process import resident_bytes
from lineside.daemon.engine_worker.settings import WorkerSettings, WorkerState, WorkerStatus
from lineside.daemon.engine_worker.supervisor import Supervisor
from lineside.daemon.liveness import SLOWEST_TURN_S, Pulse
from lineside.engines.base import Answer, EngineInfo, Grammar, Prompt


class EngineWorker:
    """Answers asks in an engine process. `open` before use, `close` after; all else is thread-safe."""

    def __init__(self, settings: WorkerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._frames = FrameSlots(settings.in_hand, settings.slot_bytes)
        self._backlog = Backlog(settings.backlog)
        self._board = Board()
        self._thread: threading.Thread | None = None
        self._supervisor: Supervisor | None = None
        self._wake = -1

    def open(self) -> None:
        """Begins to start the engine process and returns at once; see `wait_until_loaded`."""
        if self._thread is not None:
            raise ValueError("an engine worker is opened once")
        self._frames.open()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._board.enter(WorkerState.STARTING, "the engine is being loaded")
        self._supervisor = Supervisor(
            self._settings, self._clock, self._frames, self._backlog, self._board, self._wake
        )
        self._thread = threading.Thread(target=self._supervisor.run, name="engine-supervisor")
        self._thread.start()

    def close(self) -> None:
        """Ends the process and the thread; what still waits resolves as CLOSED. Safe to call twice.

        Not to be called from a future's callback, which runs in the very thread it waits for.
        """
        if self._thread is None or self._supervisor is None or self._wake < 0:
            return
        self._supervisor.ask_to_end()
        self._thread.join()
        with self._board.changed:
            os.close(self._wake)
            self._wake = -1
        self._frames.close()

    @property
    def state(self) -> WorkerState:
        """Where the engine stands now."""
        return self._board.state

    @property
    def info(self) -> EngineInfo | None:
        """The engine that was loaded; None until one was. It never changes while the worker is open."""
        return self._board.info

    def wait_until_loaded(self, timeout_s: float) -> WorkerState:
        """Waits until the engine is READY or FAILED, at most `timeout_s`; gives the state then."""
        board = self._board
        with board.changed:
            board.changed.wait_for(lambda: board.state in (WorkerState.READY, WorkerState.FAILED), timeout_s)
            return board.state

    def status(self) -> WorkerStatus:
        """A picture of the worker for health pages and metrics."""
        board = self._board
        with board.changed:
            last = board.last_answer_ns
            return WorkerStatus(
                state=board.state,
                detail=board.detail,
                pid=board.pid,
                restarts=max(0, board.starts - 1),
                answered=board.answered,
                failed=board.failed,
                cancelled=self._backlog.cancelled,
                waiting=len(self._backlog),
                last_answer_age_s=None if last is None else (self._clock.monotonic_ns() - last) / 1e9,
                memory_bytes=None if board.pid is None else resident_bytes(board.pid),
            )

    def pulse(self) -> Pulse:
        """The supervising thread's sign of life; the engine itself may be away."""
        patience = self._settings.patience
        longest_s = max(patience.start_s, patience.answer_s, patience.idle_s, self._settings.restarts.max_s)
        if self._thread is None or self._supervisor is None:
            return Pulse("engine-supervisor", running=False, turns=0)
        return Pulse(
            self._thread.name, self._thread.is_alive(), self._supervisor.turns, longest_s + SLOWEST_TURN_S
        )

    def submit(self, asks: Sequence[Ask]) -> Future[list[Answer | EngineProblem]]:
        """Asks the engine; the future gives one outcome per ask, in order, and never raises by itself.

        Waits in the queue while the engine restarts. A cancelled future is not sent any more. Callbacks on
        the future run in the supervising thread and must be brief.
        """
        if not asks:
            raise ValueError("nothing to ask")
        ticket = AskTicket(len(asks))
        self._enqueue([Work(ticket, index, ask) for index, ask in enumerate(asks)])
        return ticket.future

    def warm(self, prompt: Prompt, grammar: Grammar) -> Future[EngineProblem | None]:
        """Has a question checked and prepared, in this process and in every one that follows it.

        The future gives None, or the problem when the question cannot be asked of this engine.
        """
        ticket = WarmTicket()
        self._enqueue([Work(ticket, 0, WarmUp(prompt, grammar))])
        return ticket.future

    def _enqueue(self, works: list[Work]) -> None:
        # Under the lock of the state: the supervisor empties the queue after it entered STOPPED or FAILED.
        with self._board.changed:
            problem = self._refusal(works)
            if problem is None:
                os.eventfd_write(self._wake, 1)
        if problem is None:
            return
        for work in works:
            if isinstance(work.ask, Ask):
                self._board.count(answered=False, now_ns=self._clock.monotonic_ns())
            work.ticket.settle(work.index, problem)

    def _refusal(self, works: list[Work]) -> EngineProblem | None:
        match self._board.state:
            case WorkerState.STOPPED:
                return EngineProblem(ProblemKind.CLOSED, "the engine is stopped")
            case WorkerState.FAILED:
                return EngineProblem(ProblemKind.NOT_LOADED, self._board.detail)
            case _:
                if self._backlog.offer(works):
                    return None
                message = f"{len(self._backlog)} asks already wait for the engine"
                return EngineProblem(ProblemKind.OVERLOADED, message)
