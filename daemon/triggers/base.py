"""What a trigger is: fed with every frame in order, says which are inspections. No thread, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lineside.daemon.values import Box, Frame


@dataclass(frozen=True, slots=True)
class TriggerHit:
    """One part to judge. `frame` may lie some frames back: the one where the part is seen best.

    `part_box`: the part's tight box in fractions of the frame; None from triggers that look for no part.
    `at_ns`: monotonic time of the frame at which the trigger decided.
    """

    frame: Frame
    part_box: Box | None
    at_ns: int


class FrameTrigger(Protocol):
    """Fed by one thread."""

    def see(self, frame: Frame) -> tuple[TriggerHit, ...]:
        """The next frame; the inspections it makes."""
        ...

    def finish(self) -> tuple[TriggerHit, ...]:
        """The source has ended or starts again: parts seen whole and not judged yet."""
        ...

    @property
    def ignored(self) -> int:
        """Parts that went through unjudged (never wholly in view): GenICam's missed-trigger counter."""
        ...
