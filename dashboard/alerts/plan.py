"""What is watched and when people are left alone: rules, quiet hours, escalation. As set, or by default.

Kept as one setting. Pure values besides reading and writing that row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, time, timedelta, tzinfo
from enum import IntEnum
from typing import Any

from sqlalchemy.orm import Session

from lineside.dashboard.database.steering_tables import Setting

NAME = "alerts"
LONGEST_HOLD_MIN = 24 * 60
LONGEST_ESCALATE_MIN = 7 * 24 * 60


class RefusedPlan(ValueError):
    """A plan that cannot be; the message says what is wrong."""


class Severity(IntEnum):
    """How much it matters. Only what is critical comes through in quiet hours."""

    NOTICE = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def word(self) -> str:
        """As stored and written: lower case."""
        return self.name.lower()

    @classmethod
    def read(cls, word: object) -> Severity:
        """From its word. Raises RefusedPlan."""
        try:
            return cls[str(word).upper()]
        except KeyError:
            raise RefusedPlan(f"'{word}' is no severity: notice, warning or critical") from None


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is watched. `limit` is in the unit of its kind; None where there is none to set."""

    kind: str
    severity: Severity
    limit: float | None
    hold_min: float
    enabled: bool = True

    def __post_init__(self) -> None:
        """Raises RefusedPlan for numbers that mean nothing."""
        if self.limit is not None and not (math.isfinite(self.limit) and 0 < self.limit <= 1e6):
            raise RefusedPlan(f"{self.kind}: the limit must be a number above 0")
        if not (math.isfinite(self.hold_min) and 0 <= self.hold_min <= LONGEST_HOLD_MIN):
            raise RefusedPlan(f"{self.kind}: it must hold for 0 to {LONGEST_HOLD_MIN} minutes")


DEFAULTS: Mapping[str, Rule] = {
    rule.kind: rule
    for rule in (
        Rule("device_silent", Severity.CRITICAL, None, 1),
        Rule("not_ready", Severity.WARNING, None, 2),
        Rule("ng_streak", Severity.CRITICAL, 5, 0),  # parts
        Rule("review_rate", Severity.WARNING, 5, 0),  # percent of this hour's and the last one's parts
        Rule("waiting", Severity.NOTICE, 50, 10),  # parts
        Rule("outbox", Severity.WARNING, 15, 0),  # minutes
        Rule("disk", Severity.WARNING, 5, 1),  # GiB free
        Rule("hot", Severity.WARNING, 85, 2),  # degrees Celsius
        Rule("certificate", Severity.WARNING, 14, 0),  # days left
        Rule("clock", Severity.NOTICE, None, 10),
    )
}
"""Every kind there is, in the order in which pages show them."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one local time of day to another, over midnight where the second is earlier.

    `days`: on which they begin, Monday is 0.
    """

    begins: time
    ends: time
    days: frozenset[int] = frozenset(range(7))

    def __post_init__(self) -> None:
        """Raises RefusedPlan for hours without length or days."""
        if self.begins == self.ends:
            raise RefusedPlan("quiet hours must end at another time than they begin")
        if not self.days or not self.days <= frozenset(range(7)):
            raise RefusedPlan("quiet hours need at least one day of the week")

    def until(self, moment: datetime, zone: tzinfo | None) -> datetime | None:
        """When the quiet hours that `moment` lies in end; None where it lies in none."""
        local = moment.astimezone(zone)
        for day in (local.date(), local.date() - timedelta(days=1)):
            if day.weekday() not in self.days:
                continue
            over = day if self.begins < self.ends else day + timedelta(days=1)
            # A zone of None is the machine's: naive local times are read as that.
            begins = datetime.combine(day, self.begins, zone).astimezone(moment.tzinfo)
            ends = datetime.combine(over, self.ends, zone).astimezone(moment.tzinfo)
            if begins <= moment < ends:
                return ends
        return None


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it. `escalate_min`: an unacknowledged critical alert is told further after so long; 0: never."""

    rules: Mapping[str, Rule] = field(default_factory=lambda: dict(DEFAULTS))
    quiet: QuietHours | None = None
    escalate_min: float = 15

    def __post_init__(self) -> None:
        """Raises RefusedPlan."""
        if not (math.isfinite(self.escalate_min) and 0 <= self.escalate_min <= LONGEST_ESCALATE_MIN):
            raise RefusedPlan(f"escalation comes after 0 (never) to {LONGEST_ESCALATE_MIN} minutes")

    def due(self, severity: Severity, at: datetime, zone: tzinfo | None) -> datetime:
        """When a message of that severity may go out: now, or at the end of the quiet hours."""
        if self.quiet is None or severity is Severity.CRITICAL:
            return at
        return self.quiet.until(at, zone) or at


def read_plan(session: Session) -> Plan:
    """As set; a kind that is newer than what was set has its default."""
    row = session.get(Setting, NAME)
    if row is None:
        return Plan()
    told: dict[str, Any] = row.value
    rules = dict(DEFAULTS)
    for kind, values in told["rules"].items():
        if kind in rules:
            severity = Severity.read(values["severity"])
            rules[kind] = replace(rules[kind], **{**values, "severity": severity})
    quiet = told["quiet"]
    return Plan(
        rules,
        QuietHours(
            time.fromisoformat(quiet["begins"]), time.fromisoformat(quiet["ends"]), frozenset(quiet["days"])
        )
        if quiet
        else None,
        told["escalate_min"],
    )


def as_json(plan: Plan) -> dict[str, Any]:
    """As it is kept, and noted in the audit."""
    return {
        "rules": {
            rule.kind: {
                name: value
                for name, value in {**asdict(rule), "severity": rule.severity.word}.items()
                if name != "kind"
            }
            for rule in plan.rules.values()
        },
        "quiet": {
            "begins": f"{plan.quiet.begins:%H:%M}",
            "ends": f"{plan.quiet.ends:%H:%M}",
            "days": sorted(plan.quiet.days),
        }
        if plan.quiet
        else None,
        "escalate_min": plan.escalate_min,
    }


def write_plan(session: Session, plan: Plan, at: datetime) -> None:
    """Sets it; the follower goes by it at its next look."""
    row = session.get(Setting, NAME)
    if row is None:
        session.add(Setting(name=NAME, value=as_json(plan), changed_at=at))
    else:
        row.value, row.changed_at = as_json(plan), at
