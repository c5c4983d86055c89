"""Which results surely arrived, where nobody acknowledges: those that a session has outlived. Pure."""

from __future__ import annotations

from collections import deque


class Settling:
    """Results that were sent in this session, until `settle_s` seconds have passed over them in it.

    A broken connection shows within two keepalive intervals: what is older in a session that still lives
    has left this device. What is younger when it breaks counts as not sent.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._sent: deque[tuple[float, int]] = deque()

    def __len__(self) -> int:
        return len(self._sent)

    def sent(self, sequence: int, now: float) -> None:
        """A result went out; `now` is monotonic."""
        self._sent.append((now, sequence))

    def settled(self, now: float) -> list[int]:
        """The results to acknowledge, which are forgotten here."""
        done = []
        while self._sent and now - self._sent[0][0] >= self._settle_s:
            done.append(self._sent.popleft()[1])
        return done

    def all(self) -> list[int]:
        """Every result sent: the broker said that it has them. They are forgotten here."""
        done = [sequence for _, sequence in self._sent]
        self._sent.clear()
        return done

    def forget(self) -> None:
        """The session broke: they are sent again."""
        self._sent.clear()
