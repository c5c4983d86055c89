"""Which results are sent live, which as history, and which surely arrived. Knows no broker and no payload."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from lineside.daemon.sparkplug.settling import Settling
from lineside.daemon.store.queries import ResultFilter
from lineside.daemon.values import Result

CONSUMER = "sparkplug"
BATCH = 20
_ACKNOWLEDGE_S = 30.0


class SparkplugOutbox(Protocol):
    """What is needed of the store."""

    def pending(self, consumer: str, limit: int = 100, after: int = 0) -> Sequence[Result]:
        """The oldest unacknowledged results beyond `after`, in order."""
        ...

    def acknowledge(self, consumer: str, sequences: Sequence[int]) -> Future[None]:
        """Notes that the consumer has these."""
        ...

    def find(
        self, wanted: ResultFilter, page_size: int = 50, before_sequence: int | None = None
    ) -> Sequence[Result]:
        """The newest results that fit, newest first."""
        ...

    def last_sequence(self) -> int:
        """The sequence of the newest result; 0 before the first."""
        ...

    def wait_beyond(self, sequence: int, timeout_s: float) -> bool:
        """Waits for a result after `sequence`."""
        ...


@dataclass(slots=True)
class Counters:
    """What happened since start."""

    live: int = 0
    historical: int = 0
    acknowledged: int = 0


class Results:
    """A session begins with `begin`: results up to then are history, later ones are live."""

    def __init__(self, outbox: SparkplugOutbox, settle_s: float, history_per_s: float) -> None:
        self._outbox = outbox
        self._settling = Settling(settle_s)
        self._per_s = history_per_s
        self._live_after = 0  # live results up to here were sent in this session
        self._history_up_to = 0
        self._history_after = 0
        self._history_due = 0.0
        self._settle_due = 0.0
        self.counters = Counters()

    def begin(self, stations: Sequence[str]) -> dict[str, Result]:
        """Draws the line between history and what is live; gives each station's newest result."""
        last = self._outbox.last_sequence()
        newest = {
            name: found[0] for name in stations if (found := self._outbox.find(ResultFilter(station=name), 1))
        }
        # What a birth shows already must not come as live afterwards: time would run backwards.
        self._live_after = max([last, *(each.sequence for each in newest.values())])
        self._history_up_to, self._history_after = self._live_after, 0
        return newest

    def again(self) -> None:
        """A host lost track: what it may have missed in this session is told once more, as history."""
        self._settling.forget()
        self._history_up_to, self._history_after = self._live_after, 0

    def live(self) -> Sequence[Result]:
        """The next results of now, in order."""
        if self._outbox.last_sequence() <= self._live_after:
            return ()  # known without asking the disk, ten times a second
        return self._outbox.pending(CONSUMER, BATCH, self._live_after)

    def history(self) -> Sequence[Result]:
        """The next results of the past that are due, in order; none while it is too early for more."""
        now = time.monotonic()
        if self._history_after >= self._history_up_to or now < self._history_due:
            return ()
        found = self._outbox.pending(CONSUMER, BATCH, self._history_after)
        past = [each for each in found if each.sequence <= self._history_up_to]
        if len(past) < BATCH:
            self._history_after = self._history_up_to
        self._history_due = now + len(past) / self._per_s
        return past

    def sent(self, result: Result, *, historical: bool) -> None:
        """A result went out."""
        self._settling.sent(result.sequence, time.monotonic())
        if historical:
            self._history_after = max(self._history_after, result.sequence)
            self.counters.historical += 1
        else:
            self._live_after = result.sequence
            self.counters.live += 1

    def settle(self) -> None:
        """Acknowledges what this session has outlived by long enough; at most once a second."""
        now = time.monotonic()
        if now >= self._settle_due:
            self._settle_due = now + 1.0
            self._acknowledge(self._settling.settled(now))

    def all_arrived(self) -> None:
        """The broker said that it has all that was sent."""
        self._acknowledge(self._settling.all())

    def session_over(self) -> None:
        """What did not settle is sent again, as history, in the next session."""
        self._settling.forget()

    def wait(self, timeout_s: float) -> None:
        """Waits for a new result."""
        self._outbox.wait_beyond(self._live_after, timeout_s)

    def _acknowledge(self, sequences: list[int]) -> None:
        if sequences:
            # Waited for, so that a store that cannot write stops the sending rather than the remembering.
            self._outbox.acknowledge(CONSUMER, sequences).result(_ACKNOWLEDGE_S)
            self.counters.acknowledged += len(sequences)
