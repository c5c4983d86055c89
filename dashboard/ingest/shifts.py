"""Which shift a moment belongs to: a pure function of the plan and the plant's zone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

DEFAULT = (("early", "06:00"), ("late", "14:00"), ("night", "22:00"))


@dataclass(frozen=True, slots=True)
class ShiftPlan:
    """Shifts by when they begin, local time, earliest first. The last one runs over midnight."""

    begins: tuple[tuple[time, str], ...]
    zone: tzinfo | None

    @classmethod
    def read(cls, rows: Sequence[Sequence[str]], zone: tzinfo | None) -> ShiftPlan:
        """From `[[name, "HH:MM"], …]`.

        Raises:
            ValueError: no shift, a time that is none, or two that begin together.
        """
        begins = sorted((time.fromisoformat(begin), name) for name, begin in rows)
        if not begins or len({begin for begin, _ in begins}) != len(begins):
            raise ValueError("a plan has at least one shift, and each begins at a time of its own")
        return cls(tuple(begins), zone)

    def shift_of(self, moment: datetime) -> str:
        """`2026-03-01 late`: the local date on which the shift began, and its name."""
        local = moment.astimezone(self.zone)
        for begin, name in reversed(self.begins):
            if local.time() >= begin:
                return f"{local:%Y-%m-%d} {name}"
        return f"{local - timedelta(days=1):%Y-%m-%d} {self.begins[-1][1]}"
