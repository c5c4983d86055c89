"""What the gRPC services need of stored results. `stored.StoredResults` implements it over the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lineside.daemon.rpc.filter import Comparison
from lineside.daemon.values import Result


@dataclass(frozen=True, slots=True)
class Found:
    """Results of a search, newest first. `next_before` goes on with it; None: there are no more.

    There may be more although fewer than asked for came: a search looks at a bounded number of rows.
    """

    results: tuple[Result, ...]
    next_before: int | None


class EvidenceGone(LookupError):
    """The picture is not here: never stored, removed to make room, or damaged. The message says which."""


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
    ) -> Found:
        """At most `page_size` results older than `before_sequence` for which all comparisons hold."""
        ...

    def get(self, result_id: str) -> Result | None:
        """The result of that id, or None."""
        ...

    def read_evidence(self, evidence_id: str) -> bytes:
        """The whole file. Raises EvidenceGone."""
        ...
