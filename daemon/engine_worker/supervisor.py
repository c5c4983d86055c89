"""Keeps one engine process running: starts it, talks to it, notices its death or hang, starts the next one.

Runs in one thread, which owns the process. An ask that was in a process's hands when it ended is given to the
next one once; an ask that ends two of them is set aside as ENGINE_CRASHED. Knows no callers, only the queue.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from multiprocessing.connection import wait

import structlog

from lineside.daemon.clock import Clock
from lineside.daemon.engine_worker.backlog import Backlog, NobodyWaits, Outcome, Work
from lineside.daemon.engine_worker.board import Board
from lineside.daemon.engine_worker.frames import FrameSlots, NotAPicture, PicturesTooLarge
from lineside.daemon.engine_worker.messages import (
    Ask,
    Done,
    EngineProblem,
    FromChild,
    OpenEngine,
    ProblemKind,
    Ready,
    Refused,
)
from lineside.daemon.engine_worker.plausible import objection
from lineside.daemon.engine_worker.process import ChildGone, EngineProcess, UnsendableAsk
from lineside.daemon.engine_worker.restarts import RestartHistory
from lineside.daemon.engine_worker.settings import WorkerSettings, WorkerState
from lineside.daemon.engine_worker.shift import Shift
from lineside.engines.base import Answer, EngineInfo

log = structlog.get_logger(__name__)

DEATHS_TO_SET_ASIDE = 2
ERRORS_TO_REPLACE = (
    3  # unplanned errors in a row: a CUDA context, once broken, stays so until the process ends
)
STANDING_LIMIT = 256  # questions prepared in every new process; the oldest is forgotten first


@dataclass(frozen=True, slots=True)
class _End:
    """Why a process was over. `blames`: what it had in its hands first may be the cause."""

    reason: str
    blames: bool = True
    final: bool = False
    loaded: bool = False


class Supervisor:
    """The life of the thread is `run`; another thread ends it with `ask_to_end`."""

    def __init__(
        self,
        settings: WorkerSettings,
        clock: Clock,
        frames: FrameSlots,
        backlog: Backlog,
        board: Board,
        wake: int,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._frames = frames
        self._backlog = backlog
        self._board = board
        self._wake = wake  # an eventfd: written by whoever added work
        self._closing = False
        self.turns = 0  # grows as long as the thread goes round
        self._history = RestartHistory(settings.restarts)
        self._standing: list[Work] = []
        self._errors_in_a_row = 0

    def ask_to_end(self) -> None:
        """The thread ends its process and itself as soon as it notices."""
        self._closing = True
        os.eventfd_write(self._wake, 1)

    def run(self) -> None:
        """Until `ask_to_end`. Whatever happens here, nothing is left waiting when it returns."""
        try:
            while not self._closing:
                end = self._run_one()
                if not self._closing:
                    self._restart_after(end)
        finally:
            # Also on an error of this very code: the health page must show it and nobody may wait for ever.
            state = WorkerState.STOPPED if self._closing else WorkerState.FAILED
            self._board.enter(state, "the engine is stopped")
            self._abandon(EngineProblem(ProblemKind.CLOSED, "the engine was stopped before it could answer"))

    def _run_one(self) -> _End:
        """One process from start to end."""
        try:
            child = EngineProcess.start(self._frames.fd)
        except OSError as error:
            self._board.started(None)
            return _End(f"cannot start a process: {error}")
        self._board.started(child.pid)
        now_ns = self._clock.monotonic_ns()
        shift = Shift(child, self._frames, self._settings.in_hand, self._settings.patience, now_ns)
        try:
            try:
                end = self._serve(shift)
                how = child.stop(self._settings.stop_s) if self._closing else child.kill()
                end = replace(end, reason=f"{end.reason}; the process {how}")
            except ChildGone as gone:
                # A connection closes an instant before its process is dead, and how it died is worth a wait.
                died_alone = child.dead(1.0)
                how = child.kill()
                end = _End(f"the process {how}" if died_alone else f"the process {gone} and was killed")
            self._blame(shift, end)
            return replace(end, loaded=shift.loaded)
        finally:
            child.kill()
            self._board.ended()
            # Standing work is left out: the next process is given it anyway.
            waiting = [*shift.lay_down(), *self._backlog.take_all()]
            self._backlog.put_first([work for work in waiting if not work.standing])

    def _serve(self, shift: Shift) -> _End:
        """Works with one process until it has to go, or raises ChildGone when it went by itself."""
        settings = self._settings
        bundle = str(settings.bundle)
        shift.child.send(
            OpenEngine(
                settings.factory,
                bundle,
                settings.runtime,
                settings.threads,
                settings.heartbeat_s,
                settings.in_hand,
                settings.slot_bytes,
                settings.look_ahead,
                settings.trust,
            )
        )
        self._errors_in_a_row = 0
        while not self._closing:
            self._hand_over(shift)
            self._wait(shift.seconds_left(self._clock.monotonic_ns()), shift.child)
            for message in shift.child.received():
                end = self._hear(shift, message)
                if end is not None:
                    return end
            late = shift.overdue(self._clock.monotonic_ns())
            if late is not None:
                return _End(f"the engine {late}")
        return _End("stopping", blames=False)

    def _hand_over(self, shift: Shift) -> None:
        while shift.has_room and (work := self._backlog.take()) is not None:
            if shift.at_work is not None and (work.alone or shift.at_work.alone):
                self._backlog.put_first([work])
                return
            try:
                shift.give(work, self._clock.monotonic_ns())
            except (PicturesTooLarge, NotAPicture) as error:
                self._settle(work, EngineProblem(ProblemKind.BAD_IMAGE, str(error)))
            except UnsendableAsk as error:
                self._settle(work, EngineProblem(ProblemKind.PROMPT_TOO_LONG, str(error)))
            except ChildGone:
                self._backlog.put_first([work])
                raise

    def _hear(self, shift: Shift, message: FromChild) -> _End | None:
        now_ns = self._clock.monotonic_ns()
        shift.heard(now_ns)
        match message:
            case Ready(info=info, ahead=ahead):
                shift.ahead = ahead
                return self._loaded(shift, info)
            case Refused(message=text, final=final):
                return _End(text, blames=False, final=final)
            case Done(outcome=outcome):
                work = shift.done(message, now_ns)
                if work is None:
                    return _End("the engine answered what was not asked")
                return self._done(work, outcome)
            case _:
                return None

    def _loaded(self, shift: Shift, info: EngineInfo) -> _End | None:
        known = self._board.info
        if known is not None and info.digest != known.digest:
            # Results name the engine that judged them, and a new one goes live through its golden sets only.
            change = f"{known.digest[:12]} → {info.digest[:12]}"
            return _End(f"the bundle changed under the running engine ({change})", blames=False, final=True)
        shift.loaded = True
        self._history.loaded()
        self._backlog.put_first(self._standing)
        self._board.enter(WorkerState.READY, "", info)
        log.info(
            "engine ready", engine=info.name, version=info.version, runtime=info.runtime, pid=shift.child.pid
        )
        return None

    def _done(self, work: Work, outcome: Outcome) -> _End | None:
        work.deaths, work.suspect = 0, False
        if isinstance(outcome, Answer):
            wrong = objection(outcome, work.ask.grammar)
            if wrong is not None:
                outcome = EngineProblem(ProblemKind.UNDECODABLE, f"the engine gave {wrong}")
        failed = isinstance(outcome, EngineProblem) and outcome.kind is ProblemKind.ENGINE_ERROR
        self._errors_in_a_row = self._errors_in_a_row + 1 if failed else 0
        if isinstance(outcome, Answer):
            self._history.worked()
        if outcome is None and not work.standing:
            self._remember(work)
        self._settle(work, outcome)
        if self._errors_in_a_row >= ERRORS_TO_REPLACE:
            return _End(f"the engine failed {self._errors_in_a_row} times in a row", blames=False)
        return None

    def _remember(self, work: Work) -> None:
        if any(standing.ask == work.ask for standing in self._standing):
            return
        self._standing.append(Work(NobodyWaits(), 0, work.ask, standing=True))
        del self._standing[:-STANDING_LIMIT]

    def _blame(self, shift: Shift, end: _End) -> None:
        """Sets the ask aside at which this process ended, when it was not the first one to end there."""
        culprit = shift.at_work
        if culprit is None or not end.blames:
            return
        culprit.deaths += 1
        if shift.ahead:
            # It may as well have ended at the pictures of what came next: each is now tried by itself.
            for work in shift.waiting:
                work.suspect = True
        if culprit.deaths < DEATHS_TO_SET_ASIDE:
            return
        shift.drop_first()
        if culprit.standing:
            self._standing.remove(culprit)
        times = f"{culprit.deaths} engine processes ended at this ask"
        self._settle(culprit, EngineProblem(ProblemKind.ENGINE_CRASHED, f"{times}, the last: {end.reason}"))

    def _restart_after(self, end: _End) -> None:
        self._history.ended(while_starting=not end.loaded, final=end.final)
        delay_s = self._history.delay_s
        log.warning("engine process ended", reason=end.reason, next_start_s=round(delay_s, 2))
        if self._history.failed:
            self._board.enter(WorkerState.FAILED, end.reason)
            self._abandon(EngineProblem(ProblemKind.NOT_LOADED, end.reason))
        else:
            self._board.enter(WorkerState.RESTARTING, end.reason)
        until_ns = self._clock.monotonic_ns() + int(delay_s * 1e9)
        while not self._closing and (left_s := (until_ns - self._clock.monotonic_ns()) / 1e9) > 0:
            self._wait(left_s, None)

    def _wait(self, at_most_s: float, child: EngineProcess | None) -> None:
        """Until the child says something, somebody wakes this thread, or the time is over."""
        self.turns += 1
        wait([self._wake] if child is None else [self._wake, child.connection], max(0.0, at_most_s))
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return

    def _abandon(self, problem: EngineProblem) -> None:
        for work in self._backlog.take_all():
            self._settle(work, problem)

    def _settle(self, work: Work, outcome: Outcome) -> None:
        if isinstance(work.ask, Ask):
            self._board.count(answered=isinstance(outcome, Answer), now_ns=self._clock.monotonic_ns())
        work.ticket.settle(work.index, outcome)
