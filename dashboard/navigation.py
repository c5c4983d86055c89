"""The way through the dashboard: which pages stand at the top, in which order, for whom.

A page that should stand there adds its line here, and its word to `texts`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineside.dashboard.people.rights import Person, Role


@dataclass(frozen=True, slots=True)
class Entry:
    """One page at the top: its endpoint, the key of its word, and the least role that finds it useful."""

    endpoint: str
    word: str
    role: Role


ENTRIES = (
    Entry("fleet.index", "nav_fleet", Role.VIEWER),
    Entry("reviews.index", "nav_review", Role.REVIEWER),
    Entry("trace.index", "nav_trace", Role.VIEWER),
    Entry("quality.index", "nav_quality", Role.VIEWER),
    Entry("recipes.index", "nav_recipes", Role.VIEWER),
    Entry("engines.index", "nav_engines", Role.VIEWER),
    Entry("alerts.index", "nav_alerts", Role.VIEWER),
)
MENU = (
    Entry("users.index", "nav_users", Role.ADMIN),
    Entry("enrolments.index", "nav_enrolment", Role.ADMIN),
    Entry("audits.index", "nav_audit", Role.ENGINEER),
    Entry("settings.index", "nav_settings", Role.ADMIN),
)
"""Under the person's name: what is managed, by those whose role holds everywhere."""


def entries(person: Person | None) -> list[Entry]:
    """What a person is shown."""
    best = person.best if person is not None else None
    return [entry for entry in ENTRIES if best is not None and best >= entry.role]


def menu(person: Person | None) -> list[Entry]:
    """What a person finds under their name."""
    role = person.role if person is not None else None
    return [entry for entry in MENU if role is not None and role >= entry.role]
