"""A triggered part is never dropped: it is judged, or answered NOT_DECIDABLE, exactly once."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from inspection_doubles import RECIPE, HeldClock, ScriptedEngine, answer

from lineside.daemon.clock import SystemClock
from lineside.daemon.inspection.inspect import Inspector
from lineside.daemon.inspection.job import keep_until, undecided
from lineside.daemon.inspection.part_numbers import BLOCK, PartNumbers
from lineside.daemon.inspection.plan import make_plan
from lineside.daemon.inspection.station import QUEUE_SIZE, Station
from lineside.daemon.inspection.watcher import Watcher
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.store.errors import StoreBusy
from lineside.daemon.triggers.base import TriggerHit
from lineside.daemon.values import (
    EvidenceImage,
    Frame,
    Intake,
    ReasonCode,
    Result,
    ResultDraft,
    TriggerKind,
    Verdict,
)

GOOD = {"Is the cap on?": answer("ok"), "Read the code.": answer("A123")}


class Ledger:
    """Stands where the store stands: notes what was promised and what was answered."""

    def __init__(self) -> None:
        self.accepted: list[Intake] = []
        self.committed: list[ResultDraft] = []
        self.keep_until: list[datetime | None] = []
        self.changed = threading.Condition()

    def accept(self, intake: Intake) -> Future[None]:
        self.accepted.append(intake)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def commit(
        self, draft: ResultDraft, images: tuple[EvidenceImage, ...], *, keep_until: datetime | None
    ) -> Future[Result]:
        with self.changed:
            self.keep_until.append(keep_until)
            self.committed.append(draft)
            self.changed.notify_all()
        return Future()

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.committed) >= count, 60)

    def every_promise_kept_once(self) -> bool:
        promised = Counter(intake.result_id for intake in self.accepted)
        kept = Counter(draft.intake.result_id for draft in self.committed)
        return promised == kept and set(kept.values()) <= {1}


class Numbers:
    """Blocks of numbers, or a disk that never answers."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.given = 0
        self.stuck = stuck

    def reserve(self, name: str, count: int) -> Future[range]:
        future: Future[range] = Future()
        if not self.stuck:
            future.set_result(range(self.given, self.given + count))
            self.given += count
        return future


class BlockingInspector:
    """Judges nothing until it is let go; then breaks on request."""

    def __init__(self, clock: HeldClock, *, breaks: bool = False) -> None:
        self.go = threading.Event()
        self.inside = threading.Event()
        self.breaks = breaks
        self._inspector = Inspector(ScriptedEngine(GOOD), clock)

    def inspect(self, job):
        self.inside.set()
        self.go.wait(60)
        if self.breaks:
            raise RuntimeError("a fault nobody thought of")
        return self._inspector.inspect(job)


def station_of(plan, ledger: Ledger, inspector, clock=None, *, lossless: bool = False) -> Station:
    return Station(
        "st1",
        "cam1",
        plan,
        inspector=inspector,
        accept=ledger.accept,
        commit=ledger.commit,
        numbers=PartNumbers("st1", Numbers().reserve),
        clock=clock or SystemClock(),
        boot_id="boot",
        lossless=lossless,
    )


def frame_of(clock, index: int = 0) -> Frame:
    image = np.random.default_rng(index).integers(0, 255, (100, 200, 3), dtype=np.uint8)
    return Frame("cam1", index, image, clock.monotonic_ns(), clock.now())


def test_each_trigger_ends_in_one_committed_verdict(plan):
    ledger, clock = Ledger(), SystemClock()
    station = station_of(plan, ledger, Inspector(ScriptedEngine(GOOD), clock))
    station.open()

    ids = [station.trigger(frame_of(clock, n), kind=TriggerKind.GRPC) for n in range(20)]
    ledger.wait_for(20)
    station.close()

    assert sorted(draft.intake.result_id for draft in ledger.committed) == sorted(ids)
    assert ledger.every_promise_kept_once()
    assert station.counts().ok == 20
    assert station.counts().pending == 0


def test_a_full_queue_answers_overloaded_at_once_and_loses_no_part(plan, clock):
    ledger = Ledger()
    slow = BlockingInspector(clock)
    station = station_of(plan, ledger, slow, clock)
    station.open()
    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    assert slow.inside.wait(60)

    for _ in range(QUEUE_SIZE + 5):
        station.trigger(frame_of(clock), kind=TriggerKind.GRPC)

    assert [draft.reasons[0].code for draft in ledger.committed] == [ReasonCode.OVERLOADED] * 5
    slow.go.set()
    ledger.wait_for(QUEUE_SIZE + 6)
    station.close()
    assert ledger.every_promise_kept_once()


def test_a_file_played_without_loss_waits_instead_of_overloading(plan, clock):
    ledger = Ledger()
    slow = BlockingInspector(clock)
    station = station_of(plan, ledger, slow, clock, lossless=True)
    station.open()

    feeder = threading.Thread(
        target=lambda: [
            station.trigger(frame_of(clock), kind=TriggerKind.MOTION) for _ in range(QUEUE_SIZE * 2)
        ]
    )
    feeder.start()
    slow.go.set()
    feeder.join(60)
    ledger.wait_for(QUEUE_SIZE * 2)
    station.close()

    assert {draft.verdict for draft in ledger.committed} == {Verdict.OK}


def test_a_fault_nobody_thought_of_is_not_decidable_and_the_next_part_is_judged(plan, clock):
    ledger = Ledger()
    broken = BlockingInspector(clock, breaks=True)
    broken.go.set()
    station = station_of(plan, ledger, broken, clock)
    station.open()

    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    ledger.wait_for(1)
    broken.breaks = False
    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    ledger.wait_for(2)
    station.close()

    assert [draft.verdict for draft in ledger.committed] == [Verdict.NOT_DECIDABLE, Verdict.OK]
    assert ledger.committed[0].reasons[0].code is ReasonCode.INTERNAL_ERROR


class RefusingLedger(Ledger):
    """Takes no verdict the first `times`, with `error`."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__()
        self.error = error
        self.left = times

    def commit(self, draft: ResultDraft, images: object, *, keep_until: datetime | None) -> Future[None]:
        if self.left:
            self.left -= 1
            raise self.error
        return super().commit(draft, images, keep_until=keep_until)


def test_a_verdict_that_the_store_does_not_take_now_waits_and_the_station_lives(plan):
    ledger, clock = RefusingLedger(StoreBusy("the disk is slow"), 3), SystemClock()
    station = station_of(plan, ledger, Inspector(ScriptedEngine(GOOD), clock))
    station.open()

    for n in range(2):
        station.trigger(frame_of(clock, n), kind=TriggerKind.GRPC)
    ledger.wait_for(2)

    assert station.pulse().running
    station.close()
    assert [draft.verdict for draft in ledger.committed] == [Verdict.OK, Verdict.OK]
    assert (ledger.left, station.counts().ok, station.counts().pending) == (0, 2, 0)
    assert ledger.every_promise_kept_once()


def test_a_verdict_that_no_record_can_hold_is_not_decidable(plan):
    ledger, clock = RefusingLedger(ValueError("NaN is not JSON"), 1), SystemClock()
    station = station_of(plan, ledger, Inspector(ScriptedEngine(GOOD), clock))
    station.open()

    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    ledger.wait_for(1)
    station.close()

    (draft,) = ledger.committed
    assert draft.verdict is Verdict.NOT_DECIDABLE
    assert draft.reasons[0].code is ReasonCode.INTERNAL_ERROR
    assert station.counts().not_decidable == 1


def test_an_overload_that_the_store_does_not_take_now_is_answered_later(plan, clock):
    ledger = RefusingLedger(StoreBusy("the disk is slow"), 1)
    slow = BlockingInspector(clock)
    station = station_of(plan, ledger, slow, clock)
    station.open()
    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    assert slow.inside.wait(60)

    for _ in range(QUEUE_SIZE + 1):
        station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    assert ledger.committed == []
    slow.go.set()
    ledger.wait_for(QUEUE_SIZE + 2)
    station.close()

    assert ledger.every_promise_kept_once()
    assert ReasonCode.OVERLOADED in {r.code for draft in ledger.committed for r in draft.reasons}


@pytest.mark.parametrize(
    ("refusal", "judged", "missed"),
    [
        pytest.param(StoreBusy("the disk is slow"), [0, 2], 0, id="a source that waits is waited for"),
        pytest.param(ValueError("an intake that is none"), [2], 1, id="a fault is missed in view"),
    ],
)
def test_a_part_that_is_not_taken_does_not_end_the_watching(plan, refusal, judged, missed):
    ledger, clock = Ledger(), SystemClock()
    accept, refusals = ledger.accept, [refusal]

    def accept_later(intake: Intake) -> Future[None]:
        if refusals:
            raise refusals.pop()
        return accept(intake)

    ledger.accept = accept_later
    station = station_of(plan, ledger, Inspector(ScriptedEngine(GOOD), clock))
    station.open()
    watcher = Watcher(station, TriggerOnEven(), TriggerKind.MOTION, lossless=True, trouble=lambda: None)
    watcher.open()

    for index in range(3):
        watcher.frames.put(frame_of(clock, index), lambda: False)
    ledger.wait_for(len(judged))
    assert watcher.pulse().running
    watcher.close()
    station.close()

    assert [draft.intake.frame_index for draft in ledger.committed] == judged
    assert (watcher.missed, station.counts().triggered) == (missed, len(judged))
    assert station.counts().pending == 0


def test_parts_that_still_wait_when_the_device_stops_are_interrupted_not_forgotten(plan, clock):
    ledger = Ledger()
    slow = BlockingInspector(clock)
    station = station_of(plan, ledger, slow, clock)
    station.open()
    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    assert slow.inside.wait(60)
    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)

    station.close(drain_s=0.1)

    assert [draft.reasons[0].code for draft in ledger.committed] == [ReasonCode.INTERRUPTED]
    slow.go.set()
    ledger.wait_for(2)
    assert ledger.every_promise_kept_once()


@pytest.mark.parametrize(
    ("script", "kept_for"),
    [
        (GOOD, timedelta(hours=12)),
        ({**GOOD, "Is the cap on?": answer("missing")}, timedelta(days=30)),
        ({**GOOD, "Is the cap on?": answer("ok", 0.1)}, None),
    ],
    ids=["OK", "NOT_OK", "NOT_DECIDABLE"],
)
def test_pictures_are_to_be_kept_as_long_as_the_recipe_says_for_the_verdict(script, kept_for):
    keep = "{OK: 12h, NOT_OK: 30d, NOT_DECIDABLE: 100%}"
    plan = make_plan(parse_recipe(RECIPE.replace("{OK: 100%}", keep), "r"))
    ledger, clock = Ledger(), HeldClock()
    station = station_of(plan, ledger, Inspector(ScriptedEngine(script), clock), clock)
    station.open()

    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    ledger.wait_for(1)
    station.close()

    (draft,), (until,) = ledger.committed, ledger.keep_until
    assert until == (None if kept_for is None else draft.decided_at + kept_for)


def test_a_clock_at_the_end_of_time_costs_no_verdict(make_job, clock):
    job = make_job()
    result = undecided(job, clock, ReasonCode.LATE, "late")

    assert keep_until(job, result) == result.decided_at + timedelta(days=90)
    assert keep_until(job, dataclasses.replace(result, decided_at=datetime.max.replace(tzinfo=UTC))) is None


def test_a_recipe_change_holds_for_parts_triggered_after_it(plan, clock):
    ledger = Ledger()
    slow = BlockingInspector(clock)
    station = station_of(plan, ledger, slow, clock)
    station.open()
    before = plan.ref
    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    after = station.use(make_plan(parse_recipe(plan.loaded.text.replace("cap-check", "cap-check-2"), "r")))
    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    slow.go.set()
    ledger.wait_for(2)
    station.close()

    assert [draft.intake.recipe for draft in ledger.committed] == [before, after]


def test_part_ids_are_numbered_and_never_given_twice():
    clock, numbers = SystemClock(), Numbers()
    first = PartNumbers("st1", numbers.reserve)
    first.open()
    given = [first.next_id(clock.now()) for _ in range(BLOCK + 50)]

    # The same device after a crash: what was reserved and not used is skipped, not given again.
    second = PartNumbers("st1", numbers.reserve)
    second.open()
    given += [second.next_id(clock.now()) for _ in range(10)]

    assert given[:2] == ["st1-000000", "st1-000001"]
    assert len(set(given)) == len(given)


def test_a_part_is_named_by_the_time_when_no_number_comes():
    numbers = PartNumbers("st1", Numbers(stuck=True).reserve)
    numbers.open()

    assert numbers.next_id(HeldClock().now()) == "st1-260101-000010-000000"


class TriggerOnEven:
    """Hits on frames with an even index; a part may still be on its way at the end."""

    ignored = 0

    def __init__(self, *, breaks_on: int | None = None) -> None:
        self.breaks_on = breaks_on
        self.last: Frame | None = None

    def see(self, frame: Frame) -> tuple[TriggerHit, ...]:
        self.last = frame
        if frame.index == self.breaks_on:
            raise ValueError("an odd frame")
        return (TriggerHit(frame, (0.1, 0.1, 0.9, 0.9), frame.captured_ns),) if frame.index % 2 == 0 else ()

    def finish(self) -> tuple[TriggerHit, ...]:
        return (TriggerHit(self.last, None, self.last.captured_ns),) if self.last is not None else ()


@pytest.mark.parametrize("breaks_on", [None, 3])
def test_the_watcher_hands_on_each_hit_and_the_last_part_of_a_file(plan, breaks_on):
    ledger, clock = Ledger(), SystemClock()
    station = station_of(plan, ledger, Inspector(ScriptedEngine(GOOD), clock))
    station.open()
    trigger = TriggerOnEven(breaks_on=breaks_on)
    watcher = Watcher(station, trigger, TriggerKind.MOTION, lossless=True, trouble=lambda: None)
    watcher.open()

    for index in range(6):
        watcher.frames.put(frame_of(clock, index), lambda: False)
    watcher.frames.finish()
    ledger.wait_for(4)
    watcher.close()
    station.close()

    assert [draft.intake.frame_index for draft in ledger.committed] == [0, 2, 4, 5]
    assert watcher.finished
    assert ledger.every_promise_kept_once()


def test_looking_for_the_last_part_that_fails_is_not_repeated_for_ever(plan):
    ledger, clock = Ledger(), SystemClock()
    asked = []

    class BreaksAtTheEnd(TriggerOnEven):
        def finish(self) -> tuple[TriggerHit, ...]:
            asked.append(True)
            raise ValueError("an odd end")

    station = station_of(plan, ledger, Inspector(ScriptedEngine(GOOD), clock))
    watcher = Watcher(station, BreaksAtTheEnd(), TriggerKind.MOTION, lossless=True, trouble=lambda: None)
    watcher.open()
    watcher.frames.put(frame_of(clock, 0), lambda: False)
    watcher.frames.finish()
    ended = time.monotonic() + 60
    while watcher.pulse().turns < 8 and time.monotonic() < ended:
        time.sleep(0.02)
    watcher.close()

    assert watcher.finished
    assert asked == [True]
