"""Keeps the pictures within their quota, makes room on a full disk, and squares files with rows at start.

Everything here runs in the writer's thread, or before it starts.
"""

from __future__ import annotations

from collections.abc import Set

from sqlalchemy import Engine

from lineside.daemon.store import retention
from lineside.daemon.store.evidence import EvidenceFiles
from lineside.daemon.store.retention import Victim
from lineside.daemon.store.witnessed import WitnessedTime

SMALLEST_ROOM_BYTES, LARGEST_ROOM_BYTES = 2**20, 16 * 2**20
"""When the disk itself is full, a tenth of what is kept is freed at a time, within these bounds."""
SLACK = 0.02
"""Share of the quota freed beyond need, so that not every part evicts."""


class EvidenceQuota:
    """Bounds the bytes of kept pictures to `quota_bytes`."""

    def __init__(
        self, engine: Engine, files: EvidenceFiles, quota_bytes: int, witnessed: WitnessedTime
    ) -> None:
        self._engine = engine
        self._files = files
        self._quota_bytes = quota_bytes
        self._witnessed = witnessed
        self._removed: dict[str, Victim] = {}

    def sweep(self, *, adopt: bool) -> int:
        """Squares the files with the rows; gives the number of rows that lost their file.

        Unfinished files and, unless `adopt`, complete files that no row names (a crash came between the
        two) are removed.
        """
        total_bytes = lost = 0
        with self._engine.begin() as connection:
            for prefix, found in self._files.listing():
                strangers, missing = retention.reconcile(connection, prefix, found, adopt=adopt)
                lost += missing
                for evidence_id in strangers:
                    self._files.remove(evidence_id)
                    del found[evidence_id]
                total_bytes += sum(found.values())
            retention.recount(connection, total_bytes)
        return lost

    def enforce(self) -> bool:
        """Removes pictures until the quota holds; whether any went. A row says why before its file goes."""
        went = bool(self._removed)
        if self._removed:
            # A picture that came again meanwhile has its file again, and stays.
            gone = [one for one in self._removed.values() if not self._files.path(one.evidence_id).exists()]
            with self._engine.begin() as connection:
                retention.mark_gone(connection, gone)
            self._removed.clear()
        while True:
            with self._engine.begin() as connection:
                excess = retention.kept_bytes(connection) - self._quota_bytes
                if excess <= 0:
                    return went
                needed = excess + int(SLACK * self._quota_bytes)
                chosen = retention.victims(connection, needed, self._witnessed.passed())
                if not chosen:
                    return went
                retention.mark_gone(connection, chosen)
            went = True
            for victim in chosen:
                self._files.remove(victim.evidence_id)

    def make_room(self, spare: Set[str]) -> None:
        """Frees room on a full disk, but for the files in `spare`, which rows about to be written name.

        Files go first here, since no row can be written; `enforce` marks them later. A crash in between
        leaves rows that `sweep` finds to be MISSING their file.
        """
        with self._engine.begin() as connection:
            tenth = retention.kept_bytes(connection) // 10
            room = min(max(tenth, SMALLEST_ROOM_BYTES), LARGEST_ROOM_BYTES)
            spared = spare | self._removed.keys()
            chosen = retention.victims(connection, room, self._witnessed.passed(), passed_over=spared)
        for victim in chosen:
            if self._files.remove(victim.evidence_id):
                self._removed[victim.evidence_id] = victim
