"""When to start the engine process again, and when to say that it cannot be started.

Pure: no clock, no process.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Delays double from `first_s` to `max_s`; after `start_attempts` failed starts the engine has failed."""

    first_s: float
    max_s: float
    start_attempts: int


class RestartHistory:
    """What has gone wrong since the engine last worked."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._ends = 0
        self._failed_starts = 0
        self._final = False

    def ended(self, *, while_starting: bool, final: bool = False) -> None:
        """A process ended; `final` when it said that no further try will help."""
        self._ends += 1
        self._failed_starts = self._failed_starts + 1 if while_starting else 0
        self._final = final

    def loaded(self) -> None:
        """The engine could be loaded."""
        self._failed_starts = 0
        self._final = False

    def worked(self) -> None:
        """The engine answered: whatever went wrong before is over."""
        self._ends = 0

    @property
    def failed(self) -> bool:
        """Whether callers should stop waiting for the engine. It is still tried, at the longest delay."""
        return self._final or self._failed_starts >= self._policy.start_attempts

    @property
    def delay_s(self) -> float:
        """How long to wait before the next start."""
        if self.failed:
            return self._policy.max_s
        # The exponent is bounded so that a device that fails for months does not compute huge numbers.
        return min(self._policy.max_s, self._policy.first_s * 2.0 ** min(max(self._ends - 1, 0), 32))
