"""What can go wrong in the store, as callers may act on it, and the alarms it raises by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class StoreError(Exception):
    """Base of all errors the store raises on purpose."""


class StoreInUse(StoreError):
    """Another process has this store open."""


class NewerDatabase(StoreError):
    """The database was written by a newer release than this one."""


class StoreBusy(StoreError):
    """The queue to the writer is full and stays so: nothing was taken; try again or slow down."""


class StoreClosed(StoreError):
    """Closed before this was known to be durable. A part accepted before has its row after the next start."""


class EvidenceUnavailable(StoreError):
    """No such evidence: never stored, evicted, expired, missing, or damaged. The message says which."""


class EvidenceEvicted(EvidenceUnavailable):
    """The picture was stored once and went to make room."""


class EvidenceExpired(EvidenceUnavailable):
    """The picture was stored once, and its time of keeping is over."""


class EvidenceDamaged(EvidenceUnavailable):
    """The file is missing or its bytes no longer have the hash that names it."""


class AlarmCode(StrEnum):
    """What the store cannot mend by itself. Stable: alert rules switch on these."""

    CLOCK_DOUBTED = "CLOCK_DOUBTED"
    DATABASE_DAMAGED = "DATABASE_DAMAGED"
    DATABASE_FAILING = "DATABASE_FAILING"
    DATABASE_RECOVERED = "DATABASE_RECOVERED"
    EVIDENCE_EVICTED = "EVIDENCE_EVICTED"
    EVIDENCE_LOST = "EVIDENCE_LOST"
    EVIDENCE_MISSING = "EVIDENCE_MISSING"
    PARTS_REFUSED = "PARTS_REFUSED"
    REQUEST_REFUSED = "REQUEST_REFUSED"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing a person should hear of. `result_id` where one part is concerned."""

    code: AlarmCode
    message: str
    at: datetime
    result_id: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether writing works now. `reason` and `since` are set while it does not.

    `pending_writes`: requests taken and not yet durable.
    """

    ok: bool
    reason: str | None
    since: datetime | None
    pending_writes: int
