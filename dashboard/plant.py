"""What a plant sets for all pages: its shifts, and how long results are kept. As set, or as configured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, tzinfo

from sqlalchemy.orm import Session

from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.steering_tables import Setting
from lineside.dashboard.ingest.shifts import ShiftPlan

NAME = "plant"
MOST_SHIFTS = 8
LONGEST_NAME = 40
SHORTEST_KEPT_DAYS, LONGEST_KEPT_DAYS = 7, 3650


class RefusedSetting(ValueError):
    """A setting that cannot be; the message says what is wanted."""


@dataclass(frozen=True, slots=True)
class Plant:
    """`shifts`: name and local time of the beginning of each. `keep_days`: 0 keeps results for ever."""

    shifts: tuple[tuple[str, str], ...]
    keep_days: int = 0

    def __post_init__(self) -> None:
        """Raises RefusedSetting."""
        names = [name for name, _ in self.shifts]
        if not 1 <= len(names) <= MOST_SHIFTS or len(set(names)) != len(names):
            raise RefusedSetting(f"1 to {MOST_SHIFTS} shifts, each with a name of its own")
        for name, begin in self.shifts:
            if not name or len(name) > LONGEST_NAME or not name.isprintable():
                raise RefusedSetting(f"a shift's name has 1 to {LONGEST_NAME} characters")
            try:
                exact = f"{time.fromisoformat(begin):%H:%M}" == begin
            except ValueError:
                exact = False
            if not exact:
                raise RefusedSetting(f"'{begin[:10]}' is no time of day, as 06:00")
        if len({begin for _, begin in self.shifts}) != len(names):
            raise RefusedSetting("each shift begins at a time of its own")
        if self.keep_days and not SHORTEST_KEPT_DAYS <= self.keep_days <= LONGEST_KEPT_DAYS:
            raise RefusedSetting(
                f"results are kept for {SHORTEST_KEPT_DAYS} to {LONGEST_KEPT_DAYS} days, or 0: for ever"
            )

    def plan(self, zone: tzinfo | None) -> ShiftPlan:
        """The shifts as moments are put into them."""
        return ShiftPlan.read(self.shifts, zone)


def read_plant(session: Session, config: DashboardConfig) -> Plant:
    """As set, or as configured."""
    row = session.get(Setting, NAME)
    if row is None:
        return Plant(config.shifts)
    shifts: Sequence[Sequence[str]] = row.value["shifts"]
    return Plant(tuple((name, begin) for name, begin in shifts), row.value["keep_days"])


def write_plant(session: Session, plant: Plant, at: datetime) -> None:
    """Sets it; the follower goes by it within a second. Results that are stored keep their shift."""
    value = {"shifts": [list(shift) for shift in plant.shifts], "keep_days": plant.keep_days}
    row = session.get(Setting, NAME)
    if row is None:
        session.add(Setting(name=NAME, value=value, changed_at=at))
    else:
        row.value, row.changed_at = value, at
