"""What can be set about reviews: how many OK parts are sampled, and whether second readers are asked."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from lineside.dashboard.database.steering_tables import Setting

NAME = "review"


class RefusedPolicy(ValueError):
    """A share that is none; the message says what is wanted."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Shares are 0 to 1. `second_share`: of decisions that agree with the verdict, read twice."""

    sample_ok: float
    second_reader: bool = True
    second_share: float = 0.05

    def __post_init__(self) -> None:
        """Raises RefusedPolicy for a share outside 0 to 1."""
        for share in (self.sample_ok, self.second_share):
            if not 0 <= share <= 1:
                raise RefusedPolicy("a share lies between 0 and 100 %")

    def draws(self, result_id: str) -> bool:
        """Whether a part is read twice by lot: by its id alone, so that nobody can steer it."""
        drawn = int.from_bytes(hashlib.sha256(f"second {result_id}".encode()).digest()[:8], "big") / 2**64
        return drawn < self.second_share


def read_policy(session: Session, default_sample: float) -> Policy:
    """As set, or as the configuration says."""
    row = session.get(Setting, NAME)
    if row is None:
        return Policy(default_sample)
    return Policy(**row.value)


def write_policy(session: Session, policy: Policy, at: datetime) -> None:
    """Sets it; the follower takes a new share for the results it stores from then on."""
    row = session.get(Setting, NAME)
    if row is None:
        session.add(Setting(name=NAME, value=asdict(policy), changed_at=at))
    else:
        row.value, row.changed_at = asdict(policy), at
