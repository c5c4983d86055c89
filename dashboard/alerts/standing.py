"""When a level begins an alert and when it ends one: with patience on both sides, against fluttering.

A pure step. Unknown neither begins nor ends anything, and what was waited for is waited for anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

CLEAR_S = 30.0
"""A thing must be good for so long before its alert ends."""


class Level(Enum):
    """How a thing is. BETWEEN: no longer bad, not yet good again."""

    GOOD = "good"
    BETWEEN = "between"
    BAD = "bad"
    UNKNOWN = "unknown"


class Change(Enum):
    """What a step brought."""

    NONE = "none"
    BEGAN = "began"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether an alert stands, and since when its change is waited for."""

    stands: bool = False
    since: datetime | None = None


def step(before: Standing, level: Level, at: datetime, hold_s: float) -> tuple[Standing, Change]:
    """The next standing, and what changed."""
    wanted, patience_s = (Level.GOOD, CLEAR_S) if before.stands else (Level.BAD, hold_s)
    if level is not wanted:
        return Standing(before.stands), Change.NONE
    # A clock that was set back must not make anybody wait for ever.
    since = min(before.since, at) if before.since is not None else at
    if (at - since).total_seconds() < patience_s:
        return Standing(before.stands, since), Change.NONE
    return Standing(not before.stands), Change.ENDED if before.stands else Change.BEGAN
