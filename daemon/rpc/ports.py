"""What the gRPC services need of the store. `daemon.store` implements it; nothing here knows SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lineside.daemon.rpc.filter import Comparison
from lineside.daemon.values import Result


class ReadsResults(Protocol):
    """Reading what is stored. Every method is thread-safe and sees only committed rows."""

    def last_sequence(self) -> int:
        """Sequence of the newest result; 0 before the first."""
        ...

    def since(self, sequence: int, limit: int) -> Sequence[Result]:
        """At most `limit` results with a greater sequence, in order."""
        ...

    def wait_beyond(self, sequence: int, timeout_s: float) -> bool:
        """Waits until there is a result with a greater sequence; False when none came in time."""
        ...

    def find(
        self, comparisons: tuple[Comparison, ...], *, page_size: int, before_sequence: int | None
    ) -> Sequence[Result]:
        """At most `page_size` results for which all comparisons hold, newest first."""
        ...

    def get(self, result_id: str) -> Result | None:
        """The result of that id, or None."""
        ...

    def read_evidence(self, evidence_id: str) -> bytes | None:
        """The whole file, or None where there is none (any more)."""
        ...
