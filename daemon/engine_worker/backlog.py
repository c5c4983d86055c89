"""Asks that wait for the engine, and the futures their callers hold.

Knows nothing of processes. Bounded: a full backlog takes nothing more, and who asks is told so at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Protocol, TypeVar

from lineside.daemon.engine_worker.messages import Ask, EngineProblem, ProblemKind, WarmUp
from lineside.engines.base import Answer

Outcome = Answer | EngineProblem | None
T = TypeVar("T")


class Ticket(Protocol):
    """What a caller waits on."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def settle(self, index: int, outcome: Outcome) -> None:
        """Hands over the outcome of the ticket's piece of work number `index`, once."""
        ...


@dataclass(slots=True, eq=False)
class Work:
    """One piece of work. `deaths`: how many engine processes ended while they were at it.

    `suspect`: one ended while it perhaps looked at the pictures of this one ahead of its turn.
    `standing` work is given anew to every process that starts; nobody waits for it.
    """

    ticket: Ticket
    index: int
    ask: Ask | WarmUp
    deaths: int = 0
    suspect: bool = False
    standing: bool = False

    @property
    def alone(self) -> bool:
        """Whether a process must have nothing else in its hands, so that its end says which work it was."""
        return self.suspect or self.deaths > 0


class AskTicket:
    """Resolves to one outcome per ask, in their order, when the last one is there."""

    def __init__(self, count: int) -> None:
        self.future: Future[list[Answer | EngineProblem]] = Future()
        self._outcomes: dict[int, Answer | EngineProblem] = {}
        self._count = count

    @property
    def cancelled(self) -> bool:
        """Whether the caller gave up."""
        return self.future.cancelled()

    def settle(self, index: int, outcome: Outcome) -> None:
        """Takes the outcome of ask `index`; the first one counts."""
        if outcome is None:
            outcome = EngineProblem(ProblemKind.ENGINE_ERROR, "the engine gave no answer")
        self._outcomes.setdefault(index, outcome)
        if len(self._outcomes) == self._count:
            _resolve(self.future, [self._outcomes[i] for i in range(self._count)])


class WarmTicket:
    """Resolves to None when the question can be asked, to the problem when it cannot."""

    def __init__(self) -> None:
        self.future: Future[EngineProblem | None] = Future()

    @property
    def cancelled(self) -> bool:
        """Whether the caller gave up."""
        return self.future.cancelled()

    def settle(self, index: int, outcome: Outcome) -> None:
        """Takes the outcome of the one warm-up."""
        _resolve(self.future, outcome if isinstance(outcome, EngineProblem) else None)


class NobodyWaits:
    """The ticket of standing work."""

    cancelled = False

    def settle(self, index: int, outcome: Outcome) -> None:
        """Forgets the outcome: whoever asks the question for real learns it then."""


class Backlog:
    """Work in order, at most `limit` pieces; thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[Work] = deque()
        self._cancelled = 0

    def __len__(self) -> int:
        with self._lock:
            return self._asked_for()

    @property
    def cancelled(self) -> int:
        """How many pieces were given up by their callers before they were sent."""
        return self._cancelled

    def offer(self, works: Sequence[Work]) -> bool:
        """Takes all of `works`, or none and says False when there is no room."""
        with self._lock:
            if self._asked_for() + len(works) > self._limit:
                self._drop_cancelled()
            if self._asked_for() + len(works) > self._limit:
                return False
            self._waiting.extend(works)
            return True

    def put_first(self, works: Sequence[Work]) -> None:
        """Puts work that was taken, or that must come first, before everything else; never refused."""
        with self._lock:
            self._waiting.extendleft(reversed(works))

    def take(self) -> Work | None:
        """The next piece that somebody still waits for."""
        with self._lock:
            while self._waiting:
                work = self._waiting.popleft()
                if not self._given_up(work):
                    return work
            return None

    def take_all(self) -> list[Work]:
        """Everything that waits, leaving nothing."""
        with self._lock:
            works = list(self._waiting)
            self._waiting.clear()
            return works

    def _asked_for(self) -> int:
        # Standing work is the worker's own: it must not take the callers' places.
        return sum(not work.standing for work in self._waiting)

    def _drop_cancelled(self) -> None:
        self._waiting = deque(work for work in self._waiting if not self._given_up(work))

    def _given_up(self, work: Work) -> bool:
        if not work.ticket.cancelled:
            return False
        self._cancelled += 1
        return True


def _resolve(future: Future[T], result: T) -> None:
    try:
        future.set_result(result)
    except InvalidStateError:
        # The caller gave up between two lines of ours.
        return
