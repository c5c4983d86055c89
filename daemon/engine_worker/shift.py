"""One engine process at work: what is in its hands, what it says, and when it has taken too long.

Belongs to the supervising thread. Knows nothing of the queue before it, or of other processes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from lineside.daemon.engine_worker.backlog import Work
from lineside.daemon.engine_worker.frames import FrameSlots
from lineside.daemon.engine_worker.messages import Ask, AskEngine, Done, WarmEngine
from lineside.daemon.engine_worker.process import EngineProcess


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until silence means that the process hangs: while loading, at one ask, with nothing to do."""

    start_s: float
    answer_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class _InHand:
    id: int
    slot: int
    work: Work


class Shift:
    """`child` from its start to its end. `slots`: how many asks it may have in its hands at once."""

    def __init__(
        self, child: EngineProcess, frames: FrameSlots, slots: int, patience: Patience, now_ns: int
    ) -> None:
        self.child = child
        self.loaded = False
        self.ahead = False  # it looks at pictures ahead of their turn
        self._frames = frames
        self._free = list(range(slots))
        self._hands: deque[_InHand] = deque()
        self._patience = patience
        self._start_ns = now_ns
        self._heard_ns = now_ns
        self._head_ns = now_ns
        self._last_id = 0

    @property
    def has_room(self) -> bool:
        """Whether it can take one more piece of work."""
        return self.loaded and bool(self._free)

    @property
    def at_work(self) -> Work | None:
        """What the child is doing now."""
        return self._hands[0].work if self._hands else None

    def give(self, work: Work, now_ns: int) -> None:
        """Hands `work` over; from here on it is the child's.

        Raises:
            PicturesTooLarge, NotAPicture, UnsendableAsk: the ask itself is at fault.
            ChildGone: the child takes nothing; the ask is not to blame.
        """
        # Ids are never used twice in a shift, so that an old slot cannot pass for a new one.
        self._last_id += 1
        ask, number, slot = work.ask, self._last_id, self._free[-1]
        message: AskEngine | WarmEngine
        if isinstance(ask, Ask):
            pictures = self._frames.put(slot, number, ask.images)
            message = AskEngine(number, slot, pictures, ask.prompt, ask.grammar, ask.max_tokens)
        else:
            message = WarmEngine(number, ask.prompt, ask.grammar)
        self.child.send(message)
        self._free.pop()
        if not self._hands:
            self._head_ns = now_ns
        self._hands.append(_InHand(number, slot, work))

    def heard(self, now_ns: int) -> None:
        """The child gave a sign of life."""
        self._heard_ns = now_ns

    def done(self, message: Done, now_ns: int) -> Work | None:
        """The work that `message` is about; None when it is not the one expected now (a broken child)."""
        if not self._hands or self._hands[0].id != message.id:
            return None
        hand = self._hands.popleft()
        self._free.append(hand.slot)
        self._head_ns = now_ns
        return hand.work

    def overdue(self, now_ns: int) -> str | None:
        """What the child should have done by now and has not; None when it is in time."""
        if self.seconds_left(now_ns) > 0:
            return None
        if not self.loaded:
            return f"did not load within {self._patience.start_s:g} s"
        if self._hands:
            return f"did not answer within {self._patience.answer_s:g} s"
        return f"gave no sign of life for {self._patience.idle_s:g} s"

    def seconds_left(self, now_ns: int) -> float:
        """Until `overdue` may say something."""
        if not self.loaded:
            patience, since_ns = self._patience.start_s, self._start_ns
        elif self._hands:
            patience, since_ns = self._patience.answer_s, self._head_ns
        else:
            patience, since_ns = self._patience.idle_s, self._heard_ns
        return patience - (now_ns - since_ns) / 1e9

    @property
    def waiting(self) -> list[Work]:
        """What the child has in its hands besides what it is doing now."""
        return [hand.work for hand in list(self._hands)[1:]]

    def drop_first(self) -> None:
        """Takes what the child is doing out of its hands for good."""
        self._hands.popleft()

    def lay_down(self) -> list[Work]:
        """Takes everything out of the child's hands, the one it was at first."""
        works = [hand.work for hand in self._hands]
        self._hands.clear()
        return works
