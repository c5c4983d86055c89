"""A recipe, a clock and an engine under the test's control: fakes at the hardware's edge only."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

from lineside.daemon.engine_worker.messages import Ask, EngineProblem
from lineside.engines.base import Answer, EngineInfo, Timings, TokenCounts

RECIPE = """
recipe: cap-check
trigger: {kind: every_frame}
regions: {cap: [0.1, 0.1, 0.5, 0.9], code: [0.5, 0.1, 0.9, 0.9]}
ask:
  - {id: cap, region: cap, question: Is the cap on?, answer: {choice: [ok, missing]}}
  - {id: code, region: code, question: Read the code., answer: {text: "[A-Z][0-9]{3}"}}
gates: {blur: off, exposure: off, glare: off, drift: off, region_moved: off}
limits: {deadline_ms: 400, max_frame_age_ms: 500}
evidence: {keep: {OK: 100%}}
"""


class HeldClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.ns = 10_000_000_000
        self.ids = 0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.ns // 1000)

    def monotonic_ns(self) -> int:
        return self.ns

    def synchronised(self) -> bool:
        return True

    def new_id(self) -> str:
        self.ids += 1
        return f"00000000-0000-7000-8000-{self.ids:012d}"


def answer(value: str | int, confidence: float = 0.99, familiarity: float | None = None) -> Answer:
    """A sound answer."""
    return Answer(
        text=f'{{"answer":"{value}"}}',
        value=value,
        confidence=confidence,
        probabilities={},
        runner_up=None,
        decisions=(),
        token_ids=(),
        tokens=TokenCounts(0, 0, 0, 0, 1),
        timings=Timings(0.1, 1.0, 2.0, 3.0, 6.1),
        familiarity=familiarity,
    )


class ScriptedEngine:
    """Answers by the question's words. `None` for a question: never answers."""

    def __init__(self, script: dict[str, Answer | EngineProblem | None]) -> None:
        self.script = script
        self.asked: list[Ask] = []
        self.cancelled = 0

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("scripted", "1", "d" * 64, "test", "fp32", "none", 512)

    def submit(self, asks: Sequence[Ask]) -> Future[list[Answer | EngineProblem]]:
        self.asked.extend(asks)
        outcomes = [self.script[ask.prompt.instruction] for ask in asks]
        future: Future[list[Answer | EngineProblem]] = Future()
        future.add_done_callback(self._count_cancelled)
        if all(outcome is not None for outcome in outcomes):
            future.set_result([outcome for outcome in outcomes if outcome is not None])
        return future

    def _count_cancelled(self, future: Future[list[Answer | EngineProblem]]) -> None:
        self.cancelled += future.cancelled()
