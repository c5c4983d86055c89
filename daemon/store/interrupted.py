"""The verdict of a part whose inspection was cut off: decided without looking, and saying so."""

from __future__ import annotations

from datetime import datetime

from lineside.daemon.values import Intake, Reason, ReasonCode, ResultDraft, Verdict


def interrupted(intake: Intake, boot_id: str, now: datetime, clock_synchronised: bool) -> ResultDraft:
    """NOT_DECIDABLE for an intake that a stopped program left open. `boot_id` is that of this start."""
    what = "the inspection program" if intake.boot_id == boot_id else "the device"
    return ResultDraft(
        intake=intake,
        verdict=Verdict.NOT_DECIDABLE,
        reasons=(Reason(ReasonCode.INTERRUPTED, f"{what} stopped between trigger and verdict"),),
        findings=(),
        outcomes=(),
        engine=None,
        captured_at=None,
        decided_at=now,
        clock_synchronised=clock_synchronised,
        timings_ms={},
    )
