"""One inspection position on a line: its trigger, its queue of parts, its inspections, its counters.

Two named threads a station: `trigger:<id>` looks at every frame, `inspect:<id>` judges parts one
after the other. A triggered part is never dropped: when the queue is full it is answered
NOT_DECIDABLE at once. Knows nothing of MQTT or gRPC.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import structlog

from lineside.daemon.cameras.recent import RecentFrames
from lineside.daemon.clock import Clock
from lineside.daemon.inspection.inspect import Inspector
from lineside.daemon.inspection.job import Job, keep_until, undecided
from lineside.daemon.inspection.part_numbers import PartNumbers
from lineside.daemon.inspection.plan import Plan
from lineside.daemon.liveness import SLOWEST_TURN_S, Pulse
from lineside.daemon.outputs.station_outputs import NO_OUTPUTS, StationOutputs
from lineside.daemon.store.errors import StoreBusy, StoreClosed
from lineside.daemon.values import (
    Box,
    EvidenceImage,
    Frame,
    Intake,
    Reason,
    ReasonCode,
    RecipeRef,
    Result,
    ResultDraft,
    TriggerKind,
    Verdict,
)

QUEUE_SIZE = 64
"""Parts that may wait for the engine; beyond it a part is answered NOT_DECIDABLE, reason OVERLOADED."""
LOSSLESS_QUEUE_SIZE = 2
"""The same where the source waits: short, or parts would grow old in it and come too late for nothing."""

FULL_STORE_S = 0.2
"""How soon a source that waits is asked for again by a store that takes no more."""

LOG = structlog.get_logger("station")

Accept = Callable[[Intake], "Future[None]"]


class Commit(Protocol):
    """Makes a verdict durable with its pictures. `keep_until` None: as long as there is room for them."""

    def __call__(
        self, draft: ResultDraft, images: tuple[EvidenceImage, ...], *, keep_until: datetime | None
    ) -> Future[Result]: ...


@dataclass(frozen=True, slots=True)
class StationCounts:
    """How many parts were triggered and how they ended, since the daemon started."""

    triggered: int
    ok: int
    not_ok: int
    not_decidable: int
    pending: int


class Station:
    """Accepts triggers and turns each into exactly one committed verdict."""

    def __init__(
        self,
        name: str,
        camera: str,
        plan: Plan,
        *,
        inspector: Inspector,
        accept: Accept,
        commit: Commit,
        numbers: PartNumbers,
        clock: Clock,
        boot_id: str,
        lossless: bool,
        recent: RecentFrames | None = None,
        outputs: StationOutputs = NO_OUTPUTS,
        standing: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`recent`: the last seconds of its camera; None: clips cannot be judged here.

        `standing`: what parts are compared with now, such as their job's lot; a part's own values go first.

        `outputs` act on each verdict the moment it is known, before the store is asked.
        """
        self.name = name
        self.camera = camera
        self._plan = plan
        self._inspector = inspector
        self._accept = accept
        self._commit = commit
        self._numbers = numbers
        self._clock = clock
        self._boot_id = boot_id
        self._lossless = lossless
        self._recent = recent if recent is not None else RecentFrames()
        self._recent.keep(plan.clips)
        self._outputs = outputs
        self._standing = standing
        self._jobs: queue.Queue[Job] = queue.Queue(LOSSLESS_QUEUE_SIZE if lossless else QUEUE_SIZE)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._late: deque[tuple[Job, ResultDraft, tuple[EvidenceImage, ...]]] = deque()
        self._unrecorded = 0
        self._turns = 0
        self._thread = threading.Thread(target=self._run, name=f"inspect:{name}", daemon=True)

    @property
    def plan(self) -> Plan:
        """The active recipe, compiled."""
        with self._lock:
            return self._plan

    def use(self, plan: Plan) -> RecipeRef:
        """Makes `plan` the one for every part triggered from now on."""
        with self._lock:
            self._plan = plan
            self._recent.keep(plan.clips)
        return plan.ref

    def open(self) -> None:
        """Starts judging."""
        self._numbers.open()
        self._thread.start()

    def close(self, *, drain_s: float = 5.0) -> None:
        """Stops after the parts that wait are judged, or after `drain_s`; what is left is INTERRUPTED."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=drain_s)
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            draft = undecided(job, self._clock, ReasonCode.INTERRUPTED, "the device was stopped")
            self._act(job, draft)
            if not self._finish(job, draft, ()):
                return

    def trigger(
        self,
        frame: Frame | None,
        *,
        kind: TriggerKind,
        part_id: str | None = None,
        part_box: Box | None = None,
        expected: Mapping[str, str] | None = None,
        trouble: Reason | None = None,
        at_line: bool = True,
        must: bool = False,
    ) -> str:
        """Accepts one part and gives the id of the result that will come.

        `at_line` False: a picture that was handed in; no output acts on its verdict.

        `must`: the part is there, whoever takes note of it. Where the store takes nothing it is judged and
        acted on all the same, and recorded only if the store has room again by then; else it is counted.

        Raises:
            StoreBusy: the store takes nothing now, and the part need not be judged.
            StoreClosed: the device stops.
        """
        plan = self.plan
        now = self._clock.now()
        result_id = self._clock.new_id()
        intake = Intake(
            result_id=result_id,
            station=self.name,
            camera=self.camera,
            part_id=part_id or self._numbers.next_id(now),
            part_id_given=part_id is not None,
            trigger=kind,
            triggered_at=now,
            boot_id=self._boot_id,
            frame_index=frame.index if frame is not None else None,
            recipe=plan.ref,
            expected={**self._standing(), **(expected or {})},
        )
        clips = {} if frame is None else {clip: self._recent.clip(frame, clip) for clip in plan.clips}
        job = Job(intake, frame, part_box, plan, self._clock.monotonic_ns(), clips, at_line, trouble)
        if self._note(intake, must):
            with self._lock:
                self._counts["triggered"] += 1
        else:
            job = replace(job, accepted=False)
        self._enqueue(job)
        return result_id

    def _note(self, intake: Intake, must: bool) -> bool:
        """Whether the store has noted the trigger. A source that can wait waits for it."""
        while True:
            try:
                self._accept(intake)
            except StoreBusy as error:
                if must and self._lossless and not self._stop.wait(FULL_STORE_S):
                    continue
                if not must:
                    raise
                LOG.error("part not noted", result_id=intake.result_id, because=str(error))
                return False
            return True

    @property
    def unrecorded(self) -> int:
        """Parts that were judged and acted on while the store took nothing: no row tells of them."""
        with self._lock:
            return self._unrecorded

    def counts(self) -> StationCounts:
        """The counters as they are now."""
        with self._lock:
            done = {verdict: self._counts[verdict] for verdict in Verdict}
            return StationCounts(
                triggered=self._counts["triggered"],
                ok=done[Verdict.OK],
                not_ok=done[Verdict.NOT_OK],
                not_decidable=done[Verdict.NOT_DECIDABLE],
                pending=self._counts["triggered"] - sum(done.values()),
            )

    @property
    def longest_turn_s(self) -> float:
        """No part can keep the thread for longer: its deadline, and what may be waited for besides."""
        return self.plan.deadline_ms / 1e3 + SLOWEST_TURN_S

    def pulse(self) -> Pulse:
        """The thread's sign of life."""
        return Pulse(self._thread.name, self._thread.is_alive(), self._turns, self.longest_turn_s)

    def _enqueue(self, job: Job) -> None:
        # A file that plays without loss waits for its inspections; a live line cannot be asked to wait.
        while self._lossless and not self._stop.is_set():
            try:
                self._jobs.put(job, timeout=0.2)
            except queue.Full:
                continue
            return
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            message = f"{QUEUE_SIZE} parts were waiting already: the line is faster than the engine"
            draft = undecided(job, self._clock, ReasonCode.OVERLOADED, message)
            self._act(job, draft)
            self._keep_or_finish(job, draft, ())

    def _run(self) -> None:
        while True:
            self._turns += 1
            self._hand_over_late()
            try:
                job = self._jobs.get(timeout=0.1)
            except queue.Empty:
                if self._stop.is_set():
                    self._hand_over_late()
                    return
                continue
            self._judge(job)

    def _hand_over_late(self) -> None:
        while self._late and self._finish(*self._late[0]):
            self._late.popleft()

    def _judge(self, job: Job) -> None:
        try:
            draft, images = self._inspector.inspect(job)
        except Exception as error:
            # The loop's edge: whatever went wrong, the part gets its verdict, and the next part is judged.
            LOG.exception("inspection failed", station=self.name, result_id=job.intake.result_id)
            message = f"{type(error).__name__} while judging; the log has the details"
            draft, images = undecided(job, self._clock, ReasonCode.INTERNAL_ERROR, message), ()
        self._act(job, draft)
        self._keep_or_finish(job, draft, images)

    def _keep_or_finish(self, job: Job, draft: ResultDraft, images: tuple[EvidenceImage, ...]) -> None:
        """Hands a verdict over; where the store is behind (a slow or full disk) it waits here.

        The next part is judged meanwhile. What waits is bounded: by the parts that the store has noted,
        which are those that wait in its own queue and in this one.
        """
        if self._finish(job, draft, images):
            return
        LOG.error("verdict not taken", result_id=job.intake.result_id, is_noted=job.accepted)
        if not job.accepted:
            with self._lock:
                self._unrecorded += 1
            return
        # Less its pixels, of which nothing is needed any more but the pictures already made.
        self._late.append((replace(job, frame=None, clips={}), draft, images))

    def _act(self, job: Job, draft: ResultDraft) -> None:
        """Lets the outputs act: before the disk or anything else that may take its time."""
        if job.at_line:
            self._outputs.verdict(draft.verdict, job.seen_ns)

    def _finish(self, job: Job, draft: ResultDraft, images: tuple[EvidenceImage, ...]) -> bool:
        """Hands a verdict over; False when the store takes none now.

        A verdict that is never handed over is no lost part: its intake is closed at the next start.
        """
        try:
            draft = self._commit_what_holds(job, draft, images)
        except (StoreBusy, StoreClosed):
            return False
        with self._lock:
            self._counts["triggered"] += not job.accepted
            self._counts[draft.verdict] += 1
        return True

    def _commit_what_holds(
        self, job: Job, draft: ResultDraft, images: tuple[EvidenceImage, ...]
    ) -> ResultDraft:
        try:
            self._commit(draft, images, keep_until=keep_until(job, draft))
        except ValueError as error:
            # What no record can hold (a NaN) decides nothing.
            LOG.exception("verdict cannot be stored", station=self.name, result_id=job.intake.result_id)
            message = f"the verdict could not be stored: {error}"
            good = draft.verdict is Verdict.OK
            draft = undecided(job, self._clock, ReasonCode.INTERNAL_ERROR, message)
            if good:
                # It was let pass a moment ago; the others have acted already.
                self._act(job, draft)
            self._commit(draft, (), keep_until=keep_until(job, draft))
        return draft
