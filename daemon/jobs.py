"""Job orders of the plant (ISA-95 job control): what they hold, and which moves their states allow. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from lineside.daemon.values import Verdict

JOB_KEY = "job"
"""Under this name a part's expected values hold the job it belongs to."""


class JobState(StrEnum):
    """State of a job order, by ISA-95."""

    ALLOWED_TO_START = "ALLOWED_TO_START"
    RUNNING = "RUNNING"
    INTERRUPTED = "INTERRUPTED"
    ENDED = "ENDED"
    ABORTED = "ABORTED"


class JobMove(StrEnum):
    """What may be done with a job."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    ABORT = "abort"


_MOVES: Mapping[tuple[JobState, JobMove], JobState] = {
    (JobState.ALLOWED_TO_START, JobMove.START): JobState.RUNNING,
    (JobState.ALLOWED_TO_START, JobMove.ABORT): JobState.ABORTED,
    (JobState.RUNNING, JobMove.PAUSE): JobState.INTERRUPTED,
    (JobState.RUNNING, JobMove.STOP): JobState.ENDED,
    (JobState.RUNNING, JobMove.ABORT): JobState.ABORTED,
    (JobState.INTERRUPTED, JobMove.RESUME): JobState.RUNNING,
    (JobState.INTERRUPTED, JobMove.STOP): JobState.ENDED,
    (JobState.INTERRUPTED, JobMove.ABORT): JobState.ABORTED,
}
OVER = frozenset({JobState.ENDED, JobState.ABORTED})
HOLDS_STATION = frozenset({JobState.RUNNING, JobState.INTERRUPTED})


class JobRefused(Exception):
    """Something that cannot be done with a job now. `reason` is UPPER_SNAKE and stable."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Job:
    """A job order. Empty texts and a quantity of 0 mean: not said. `changed` counts its changes."""

    job: str
    station: str
    created_at: datetime
    state: JobState = JobState.ALLOWED_TO_START
    recipe: str = ""
    material: str = ""
    lot: str = ""
    quantity: int = 0
    expected: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    changed: int = 1
    ordinal: int = 0
    counts: Mapping[Verdict, int] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """Changes with every change of the job (RFC 9110: in quotes)."""
        return f'"{self.job}-{self.changed}"'

    def values(self) -> dict[str, str]:
        """What a part of this job is compared with: `mes.lot` is `values()["lot"]`."""
        said = {"material": self.material, "lot": self.lot, "quantity": str(self.quantity or "")}
        return {**{key: text for key, text in said.items() if text}, **self.expected, JOB_KEY: self.job}

    def moved(self, move: JobMove, now: datetime) -> Job:
        """The job after a move. Raises JobRefused (JOB_STATE)."""
        state = _MOVES.get((self.state, move))
        if state is None:
            raise JobRefused("JOB_STATE", f"job '{self.job}' is {self.state}: it cannot {move} now")
        return replace(
            self,
            state=state,
            started_at=now if move is JobMove.START else self.started_at,
            ended_at=now if state in OVER else self.ended_at,
            changed=self.changed + 1,
        )
