"""One accepted trigger on its way to a verdict, and the drafts that need no engine.

Knows nothing of threads or storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lineside.daemon.clock import Clock
from lineside.daemon.inspection.plan import Plan
from lineside.daemon.recipes.sight import ClipOption
from lineside.daemon.values import (
    AskOutcome,
    Box,
    EngineRef,
    Finding,
    Frame,
    Intake,
    Reason,
    ReasonCode,
    ResultDraft,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Job:
    """A triggered part with the frame it is judged on and the recipe that was active at that moment."""

    intake: Intake
    frame: Frame | None
    part_box: Box | None
    plan: Plan
    accepted_ns: int
    clips: Mapping[ClipOption, tuple[Frame, ...]] = field(default_factory=dict)
    """The seconds before the frame, as the plan's questions need them; oldest first, the frame last."""
    at_line: bool = True
    """Whether the part stands on the line, where outputs reach it; a picture handed in does not."""
    trouble: Reason | None = None
    """Why the camera's picture may not be judged (frozen, black, gone), as seen at the trigger."""
    accepted: bool = True
    """Whether the store has noted the trigger; it did not where it takes nothing and the part is there."""

    @property
    def seen_ns(self) -> int:
        """Monotonic time at which the part was seen: what an output's delay counts from."""
        return self.accepted_ns if self.frame is None else self.frame.captured_ns

    @property
    def deadline_ns(self) -> int:
        """Monotonic time by which the verdict is due."""
        return self.accepted_ns + self.plan.deadline_ms * 1_000_000


@dataclass(slots=True)
class Stages:
    """Milliseconds by stage of one inspection, filled in as it goes."""

    clock: Clock
    spent: dict[str, float] = field(default_factory=dict)
    _mark: int = 0

    def start(self) -> None:
        """Begins timing the next stage."""
        self._mark = self.clock.monotonic_ns()

    def end(self, stage: str) -> None:
        """Adds the time since the last mark to `stage` and marks again."""
        now = self.clock.monotonic_ns()
        self.spent[stage] = self.spent.get(stage, 0.0) + (now - self._mark) / 1e6
        self._mark = now

    def add(self, times: Mapping[str, float]) -> None:
        """Adds times that somebody else measured."""
        for stage, milliseconds in times.items():
            self.spent[stage] = self.spent.get(stage, 0.0) + milliseconds


def keep_until(job: Job, result: ResultDraft) -> datetime | None:
    """Until when the recipe wants the pictures of this result kept; None: as long as there is room."""
    duration = job.plan.loaded.recipe.evidence.keep.of(result.verdict).duration
    if duration is None:
        return None
    try:
        return result.decided_at + duration
    except OverflowError:
        # Beyond the year 9999: such a clock, or such a duration, has no end to speak of.
        return None


def undecided(
    job: Job, clock: Clock, code: ReasonCode, message: str, *, engine: EngineRef | None = None
) -> ResultDraft:
    """The verdict of a part that could not be judged: NOT_DECIDABLE with the reason, never an OK."""
    return draft(job, clock, Verdict.NOT_DECIDABLE, (Reason(code, message),), engine=engine)


def draft(
    job: Job,
    clock: Clock,
    verdict: Verdict,
    reasons: tuple[Reason, ...],
    *,
    engine: EngineRef | None,
    stages: Stages | None = None,
    findings: tuple[Finding, ...] = (),
    outcomes: tuple[AskOutcome, ...] = (),
) -> ResultDraft:
    """A draft with its times."""
    now = clock.monotonic_ns()
    timings = dict(stages.spent) if stages is not None else {}
    timings["trigger_to_verdict"] = (now - job.accepted_ns) / 1e6
    age = None
    if job.frame is not None:
        timings["camera_to_verdict"] = (now - job.frame.captured_ns) / 1e6
        age = (job.accepted_ns - job.frame.captured_ns) / 1e6
    return ResultDraft(
        intake=job.intake,
        verdict=verdict,
        reasons=reasons,
        findings=findings,
        outcomes=outcomes,
        engine=engine,
        captured_at=job.frame.captured_at if job.frame is not None else None,
        decided_at=clock.now(),
        clock_synchronised=clock.synchronised(),
        timings_ms={stage: round(milliseconds, 3) for stage, milliseconds in timings.items()},
        part_box=job.part_box,
        frame_age_ms=round(age, 3) if age is not None else None,
    )
