"""Parts, verdicts and pictures to store, and a clock that the tests set."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lineside.daemon.values import (
    AskOutcome,
    EngineRef,
    EvidenceImage,
    Finding,
    Intake,
    Reason,
    ReasonCode,
    RecipeRef,
    ResultDraft,
    TriggerKind,
    Verdict,
)

GENEROUS_S = 60.0
"""For waits that end as soon as what they wait for has happened."""


class TestClock:
    """Wall time that moves one millisecond a look, from where the test puts it; ids that count.

    Monotonic time stands still but for `pass_time`.
    """

    __test__ = False

    def __init__(self, seed: int = 0) -> None:
        self.time = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
        self.is_synchronised = True
        self.ns = 0
        self._ids = random.Random(seed)

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time

    def monotonic_ns(self) -> int:
        return self.ns

    def pass_time(self, **time: float) -> None:
        """Time really passes: on the wall and on the monotonic clock."""
        self.time += timedelta(**time)
        self.ns += timedelta(**time) // timedelta(microseconds=1) * 1000

    def synchronised(self) -> bool:
        return self.is_synchronised

    def new_id(self) -> str:
        return f"{self._ids.getrandbits(128):032x}"


class Samples:
    """Values as the pipeline makes them; keywords change single fields."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._parts = 0

    def intake(self, **changes: Any) -> Intake:
        self._parts += 1
        intake = Intake(
            result_id=self._clock.new_id(),
            station="press-1",
            camera="cam1",
            part_id=f"P{self._parts:05d}",
            part_id_given=True,
            trigger=TriggerKind.GRPC,
            triggered_at=self._clock.now(),
            boot_id="boot-a",
            frame_index=self._parts,
            recipe=RecipeRef("cap-check", 3, "ab" * 32),
            expected={"lot": "L123456A"},
        )
        return replace(intake, **changes)

    def draft(
        self, intake: Intake | None = None, verdict: Verdict = Verdict.OK, **changes: Any
    ) -> ResultDraft:
        label = "ok" if verdict is Verdict.OK else "cracked"
        draft = ResultDraft(
            intake=intake or self.intake(),
            verdict=verdict,
            reasons=()
            if verdict is Verdict.OK
            else (Reason(ReasonCode.FINDING, "the cap is cracked", "cap"),),
            findings=(Finding("cap", label, 0.97, verdict is not Verdict.OK, (0.35, 0.1, 0.65, 0.45)),),
            outcomes=(
                AskOutcome(
                    "cap",
                    "choice",
                    label,
                    0.97,
                    {"ok": 0.03, label: 0.97},
                    ("ok", 0.03),
                    0.4,
                    (0.35, 0.1, 0.65, 0.45),
                ),
            ),
            engine=EngineRef("demo", "1.0.0", "cd" * 32, "onnxruntime"),
            captured_at=self._clock.now(),
            decided_at=self._clock.now(),
            clock_synchronised=True,
            timings_ms={"preprocess": 1.5, "vision": 8.25, "total": 31.0},
            part_box=(0.2, 0.1, 0.8, 0.9),
            frame_age_ms=12.5,
        )
        return replace(draft, **changes)


def picture(data: bytes, role: str = "frame") -> EvidenceImage:
    """A picture whose bytes the test chooses."""
    return EvidenceImage(role, None if role == "frame" else "cap", "image/jpeg", 64, 48, data)


def commits_in_log(wal: Path) -> list[int]:
    """The byte offsets in a write-ahead log at which a transaction is complete.

    After sqlite.org/fileformat2.html section 4: a frame's second word is not zero when it commits; frames
    of an earlier use of the file have other salts.
    """
    data = wal.read_bytes() if wal.exists() else b""
    if len(data) < 32:
        return []
    page_size, salts = int.from_bytes(data[8:12], "big"), data[16:24]
    ends = []
    for start in range(32, len(data) - 24 - page_size + 1, 24 + page_size):
        if data[start + 8 : start + 16] != salts:
            break
        if data[start + 4 : start + 8] != bytes(4):
            ends.append(start + 24 + page_size)
    return ends
