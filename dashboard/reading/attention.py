"""What of a station needs a person, and how much: a pure function of what is known of it.

The weights order, nothing else: parts that are bad now come before parts that nobody judges, and these before
what may go wrong later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lineside.dashboard.devices.values import Counts
from lineside.dashboard.reading.views import Contact

RECENT = 20
FEWEST_NG = 3
ALWAYS_NG = 5
"""Of the last RECENT: a quarter is a concern however usual it has become."""
SURPRISE = 0.001
"""How seldom so many NG among the last ones may come by chance before somebody should look."""
LEAST_USUAL = 0.01
WAITING_MANY = 20
WAITING_LONG_S = 30 * 60.0
OUTBOX_OLD_S = 300.0
DISK_LOW_BYTES = 2 * 1024**3
HOT_C = 85.0
CERTIFICATE_SOON_S = 14 * 86400.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a station and its device. None: not known, which is no concern by itself."""

    contact: Contact
    silent_for_s: float | None
    has_station: bool
    ready: bool
    strip: str
    counts: Counts
    waiting: int
    waiting_oldest_s: float | None
    outbox_oldest_s: float | None
    disk_free_bytes: int | None
    temperature_c: float | None
    clock_synchronised: bool
    certificate_left_s: float | None


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing a person should see. `word` names its text (`concern_WORD`), `tone` the state's shape."""

    word: str
    tone: str
    weight: int
    value: float = 0.0


def concerns(seen: Seen) -> tuple[Concern, ...]:
    """The worst first; empty when all is well."""
    found = []
    if seen.contact is Contact.NEVER:
        found.append(Concern("never", "unknown", 70))
    elif seen.contact is Contact.SILENT:
        # Nothing else is known of now: what was is not repeated as if it was.
        return (Concern("silent", "unknown", 80, seen.silent_for_s or 0.0),)
    ng = seen.strip[-RECENT:].count("n")
    if unusual(ng, len(seen.strip[-RECENT:]), seen.counts):
        found.append(Concern("ng", "not_ok", 100, ng))
    if seen.contact is Contact.LIVE and seen.has_station and not seen.ready:
        found.append(Concern("not_ready", "unknown", 75))
    waits_long = (seen.waiting_oldest_s or 0.0) >= WAITING_LONG_S
    if seen.waiting >= WAITING_MANY or (seen.waiting and waits_long):
        found.append(Concern("waiting", "not_decidable", 50, seen.waiting))
    if seen.outbox_oldest_s is not None and seen.outbox_oldest_s >= OUTBOX_OLD_S:
        found.append(Concern("outbox", "not_decidable", 60, seen.outbox_oldest_s))
    if seen.disk_free_bytes is not None and seen.disk_free_bytes < DISK_LOW_BYTES:
        found.append(Concern("disk", "not_decidable", 65, seen.disk_free_bytes / 1024**3))
    if seen.temperature_c is not None and seen.temperature_c >= HOT_C:
        found.append(Concern("hot", "not_decidable", 64, seen.temperature_c))
    if seen.certificate_left_s is not None and seen.certificate_left_s < CERTIFICATE_SOON_S:
        found.append(Concern("certificate", "not_decidable", 45, max(0.0, seen.certificate_left_s)))
    if seen.contact is Contact.LIVE and not seen.clock_synchronised:
        found.append(Concern("clock", "not_decidable", 20))
    return tuple(sorted(found, key=lambda concern: -concern.weight))


def unusual(ng: int, among: int, today: Counts) -> bool:
    """Whether so many NG among the last parts are more than today's earlier share explains."""
    if ng < FEWEST_NG or ng >= ALWAYS_NG:
        return ng >= ALWAYS_NG
    before, ng_before = today.total - among, today.not_ok - ng
    usual = max(LEAST_USUAL, ng_before / before) if before > 0 and ng_before >= 0 else LEAST_USUAL
    return _at_least(ng, among, min(usual, 1.0)) < SURPRISE


def _at_least(k: int, n: int, p: float) -> float:
    """The chance of at least `k` out of `n` at a share `p`."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
