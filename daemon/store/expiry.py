"""Removes the pictures whose time of keeping is over, a few at a time. Runs in the writer's thread."""

from __future__ import annotations

from sqlalchemy import Engine

from lineside.daemon.clock import Clock
from lineside.daemon.store.evidence import EvidenceFiles
from lineside.daemon.store.retention import expired, mark_gone
from lineside.daemon.store.witnessed import WitnessedTime, save_mark

PASS_EVERY_S = 60
"""Between passes that found everything done; each costs one fsync, which also notes the time witnessed."""
FILES_A_PASS = 64
"""Removed in one pass, at most: a verdict that arrives meanwhile waits no longer than for this."""


class EvidenceExpiry:
    """Ends the keeping of pictures. A row says EXPIRED before its file goes."""

    def __init__(self, engine: Engine, files: EvidenceFiles, clock: Clock, witnessed: WitnessedTime) -> None:
        self._engine = engine
        self._files = files
        self._clock = clock
        self._witnessed = witnessed
        self._next_ns = clock.monotonic_ns() + PASS_EVERY_S * 1_000_000_000

    def due(self) -> bool:
        """Whether it is time for a pass."""
        return self._clock.monotonic_ns() >= self._next_ns

    def run(self) -> bool:
        """One pass; True when it left something for the next, which is then due at once."""
        with self._engine.begin() as connection:
            save_mark(connection, self._witnessed.mark())
            chosen = expired(connection, self._witnessed.passed(), FILES_A_PASS)
            mark_gone(connection, chosen)
        for one in chosen:
            self._files.remove(one.evidence_id)
        more = len(chosen) == FILES_A_PASS
        if not more:
            self._next_ns = self._clock.monotonic_ns() + PASS_EVERY_S * 1_000_000_000
        return more
