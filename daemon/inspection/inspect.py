"""One inspection from its frame to a verdict: crops, gates, the engine's answers, rules.

Every way out is a verdict; none of them makes an OK of something that went wrong. Knows no threads,
no storage and no cameras.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Protocol

from lineside.daemon.clock import Clock
from lineside.daemon.engine_worker.messages import Ask, EngineProblem
from lineside.daemon.inspection.job import Job, Stages, draft, undecided
from lineside.daemon.inspection.looking import Seen, look_at
from lineside.daemon.inspection.pictures import encode_frame, in_sample
from lineside.daemon.rules.judge import judge
from lineside.daemon.values import (
    AskOutcome,
    EngineRef,
    EvidenceImage,
    Reason,
    ReasonCode,
    ResultDraft,
    Verdict,
)
from lineside.engines.base import Answer, EngineInfo

Outcome = Answer | EngineProblem


class AsksEngine(Protocol):
    """What an inspection needs of the engine worker."""

    @property
    def info(self) -> EngineInfo | None: ...

    def submit(self, asks: Sequence[Ask]) -> Future[list[Outcome]]: ...


class Inspector:
    """Judges jobs with one engine."""

    def __init__(self, engine: AsksEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def inspect(self, job: Job) -> tuple[ResultDraft, tuple[EvidenceImage, ...]]:
        """The verdict and the pictures to keep of it."""
        stages = Stages(self._clock)
        stages.start()
        stages.spent["queue"] = (self._clock.monotonic_ns() - job.accepted_ns) / 1e6
        unfit = self._unfit(job)
        if unfit is not None:
            return unfit, self._pictures(job, unfit, [])
        assert job.frame is not None
        seen, outside = look_at(job, job.frame)
        stages.end("crop_and_gates")
        outcomes, late = self._ask(job, [one for one in seen if not one.objections], stages)
        result = self._judge(job, seen, outside, outcomes, late, stages)
        return result, self._pictures(job, result, seen)

    def _unfit(self, job: Job) -> ResultDraft | None:
        """The verdict of a job that cannot even be looked at; None when it can."""
        if job.frame is None:
            message = f"camera {job.intake.camera} has given no picture yet"
            return undecided(job, self._clock, ReasonCode.NO_FRAME, message, engine=self._engine_ref())
        if job.trouble is not None:
            return draft(job, self._clock, Verdict.NOT_DECIDABLE, (job.trouble,), engine=self._engine_ref())
        age_ms = (job.accepted_ns - job.frame.captured_ns) / 1e6
        limit = job.plan.loaded.recipe.limits.max_frame_age_ms
        if age_ms > limit:
            message = f"the newest picture was {age_ms:.0f} ms old at the trigger; the limit is {limit} ms"
            return undecided(job, self._clock, ReasonCode.STALE_FRAME, message, engine=self._engine_ref())
        if self._clock.monotonic_ns() > job.deadline_ns:
            return self._late(job, None)
        return None

    def _ask(self, job: Job, seen: list[Seen], stages: Stages) -> tuple[dict[str, Outcome], bool]:
        if not seen:
            return {}, False
        future = self._engine.submit([one.ask() for one in seen])
        left_s = (job.deadline_ns - self._clock.monotonic_ns()) / 1e9
        try:
            answers = future.result(timeout=max(left_s, 0.0))
        except (FutureTimeout, CancelledError):
            future.cancel()
            return {}, True
        stages.end("engine")
        for answer in answers:
            if isinstance(answer, Answer):
                times = answer.timings
                stages.add({
                    "preprocess": times.preprocess, "vision": times.vision,
                    "prefill": times.prefill, "decode": times.decode,
                })  # fmt: skip
        return {one.look.ask: answer for one, answer in zip(seen, answers, strict=True)}, False

    def _judge(
        self,
        job: Job,
        seen: list[Seen],
        outside: tuple[Reason, ...],
        outcomes: dict[str, Outcome],
        late: bool,
        stages: Stages,
    ) -> ResultDraft:
        if late:
            return self._late(job, stages)
        answers = {ask: one for ask, one in outcomes.items() if isinstance(one, Answer)}
        troubles = [
            *outside,
            *(reason for one in seen for reason in one.objections),
            *(
                Reason(one.reason, one.message, ask)
                for ask, one in outcomes.items()
                if isinstance(one, EngineProblem)
            ),
        ]
        if not seen:
            # Nothing could be looked at: say why once, not again for every question.
            return draft(
                job, self._clock, Verdict.NOT_DECIDABLE, outside, engine=self._engine_ref(), stages=stages
            )
        boxes = {one.look.ask: one.box for one in seen}
        judgement = judge(
            job.plan.loaded.recipe, answers, job.intake.expected, boxes=boxes, troubles=tuple(troubles)
        )
        stages.end("rules")
        return draft(
            job,
            self._clock,
            judgement.verdict,
            judgement.reasons,
            engine=self._engine_ref(),
            stages=stages,
            findings=judgement.findings,
            outcomes=tuple(_outcome(one, answers[one.look.ask]) for one in seen if one.look.ask in answers),
        )

    def _late(self, job: Job, stages: Stages | None) -> ResultDraft:
        limits = job.plan.loaded.recipe.limits
        reason = Reason(ReasonCode.LATE, f"no verdict within {limits.deadline_ms} ms of the trigger")
        verdict = Verdict(limits.when_late)
        return draft(job, self._clock, verdict, (reason,), engine=self._engine_ref(), stages=stages)

    def _pictures(self, job: Job, result: ResultDraft, seen: list[Seen]) -> tuple[EvidenceImage, ...]:
        keep = job.plan.loaded.recipe.evidence.keep.of(result.verdict)
        if job.frame is None or not in_sample(job.intake.result_id, keep.share):
            return ()
        return (encode_frame(job.frame.image), *(image for one in seen for image in one.evidence()))

    def _engine_ref(self) -> EngineRef | None:
        info = self._engine.info
        return engine_ref(info) if info is not None else None


def engine_ref(info: EngineInfo) -> EngineRef:
    """How results name an engine."""
    return EngineRef(info.name, info.version, info.digest, info.runtime)


def _outcome(seen: Seen, answer: Answer) -> AskOutcome:
    value = answer.value if isinstance(answer.value, str | int) else None
    return AskOutcome(
        ask=seen.look.ask,
        kind=seen.look.kind,
        value=value,
        confidence=answer.confidence,
        probabilities=dict(answer.probabilities),
        runner_up=answer.runner_up,
        familiarity=answer.familiarity,
        box=seen.box,
    )
