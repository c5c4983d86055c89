"""The reject output acts on the verdict: before the disk, also on errors, never on a picture handed in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from inspection_doubles import RECIPE, HeldClock, ScriptedEngine, answer

from lineside.daemon.inspection.inspect import Inspector
from lineside.daemon.inspection.part_numbers import PartNumbers
from lineside.daemon.inspection.plan import Plan, make_plan
from lineside.daemon.inspection.station import QUEUE_SIZE, Station
from lineside.daemon.outputs.station_outputs import StationOutputs
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.store.errors import StoreBusy
from lineside.daemon.values import Frame, Intake, Result, ResultDraft, TriggerKind, Verdict

GOOD = {"Is the cap on?": answer("ok"), "Read the code.": answer("A123")}
BAD = {"Is the cap on?": answer("missing"), "Read the code.": answer("A123")}


class Acted(StationOutputs):
    """Stands where the hardware stands: notes what it was told, and when the part was seen."""

    def __init__(self) -> None:
        super().__init__(())
        self.told: list[tuple[Verdict, int]] = []
        self.changed = threading.Condition()

    def verdict(self, verdict: Verdict, seen_ns: int) -> None:
        with self.changed:
            self.told.append((verdict, seen_ns))
            self.changed.notify_all()

    def wait_for(self, count: int) -> list[Verdict]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.told) >= count, 60)
            return [verdict for verdict, _ in self.told]


class StuckStore:
    """A disk that takes nothing until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go = threading.Event()
        self.committed: list[ResultDraft] = []
        self.error = error

    def accept(self, _: Intake) -> Future[None]:
        return Future()

    def commit(self, draft: ResultDraft, images: object, *, keep_until: datetime | None) -> Future[Result]:
        self.go.wait(60)
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.committed.append(draft)
        return Future()


def station_of(engine: object, store: StuckStore, acted: Acted, clock: HeldClock) -> Station:
    plan: Plan = make_plan(parse_recipe(RECIPE, Path("cap-check.yaml")))
    return Station(
        "st1",
        "cam1",
        plan,
        inspector=engine,  # type: ignore[arg-type]
        accept=store.accept,
        commit=store.commit,
        numbers=PartNumbers("st1", lambda name, count: _numbers(count)),
        clock=clock,
        boot_id="boot",
        lossless=False,
        outputs=acted,
    )


def _numbers(count: int) -> Future[range]:
    done: Future[range] = Future()
    done.set_result(range(count))
    return done


def frame_of(clock: HeldClock) -> Frame:
    image = np.random.default_rng(3).integers(0, 255, (100, 200, 3), dtype=np.uint8)
    return Frame("cam1", 0, image, clock.monotonic_ns() - 7_000_000, clock.now())


class Broken:
    def inspect(self, job: object) -> object:
        raise RuntimeError("a fault nobody thought of")


@pytest.mark.parametrize(
    ("engine", "verdict"),
    [
        (lambda clock: Inspector(ScriptedEngine(GOOD), clock), Verdict.OK),
        (lambda clock: Inspector(ScriptedEngine(BAD), clock), Verdict.NOT_OK),
        (lambda clock: Broken(), Verdict.NOT_DECIDABLE),
    ],
)
def test_the_outputs_hear_while_the_disk_still_takes_nothing(
    engine: Callable[[HeldClock], object], verdict: Verdict
) -> None:
    store, acted, clock = StuckStore(), Acted(), HeldClock()
    station = station_of(engine(clock), store, acted, clock)
    station.open()
    frame = frame_of(clock)
    station.trigger(frame, kind=TriggerKind.MOTION)
    assert acted.wait_for(1) == [verdict]
    assert acted.told[0][1] == frame.captured_ns
    assert store.committed == []
    store.go.set()
    station.close()
    assert [draft.verdict for draft in store.committed] == [verdict]
    assert len(acted.told) == 1


def test_an_ok_that_cannot_be_stored_is_rejected_after_all() -> None:
    store, acted, clock = StuckStore(ValueError("NaN is not JSON")), Acted(), HeldClock()
    station = station_of(Inspector(ScriptedEngine(GOOD), clock), store, acted, clock)
    store.go.set()
    station.open()
    station.trigger(frame_of(clock), kind=TriggerKind.MOTION)
    assert acted.wait_for(2) == [Verdict.OK, Verdict.NOT_DECIDABLE]
    station.close()


def test_a_part_that_finds_the_queue_full_is_acted_on_at_once() -> None:
    store, acted, clock = StuckStore(), Acted(), HeldClock()
    station = station_of(Inspector(ScriptedEngine(GOOD), clock), store, acted, clock)
    for _ in range(QUEUE_SIZE):
        station.trigger(frame_of(clock), kind=TriggerKind.MOTION)
    assert acted.told == []
    store.go.set()
    station.trigger(frame_of(clock), kind=TriggerKind.MOTION)
    assert acted.wait_for(1) == [Verdict.NOT_DECIDABLE]
    station.open()
    station.close()


def test_a_picture_handed_in_moves_no_gate() -> None:
    store, acted, clock = StuckStore(), Acted(), HeldClock()
    station = station_of(Inspector(ScriptedEngine(BAD), clock), store, acted, clock)
    store.go.set()
    station.open()
    station.trigger(frame_of(clock), kind=TriggerKind.GRPC, at_line=False)
    station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    acted.wait_for(1)
    station.close()
    assert [draft.verdict for draft in store.committed] == [Verdict.NOT_OK] * 2
    assert len(acted.told) == 1


def test_where_the_disk_takes_nothing_any_more_parts_are_judged_and_acted_on_all_the_same() -> None:
    acted, clock = Acted(), HeldClock()

    class FullStore(StuckStore):
        """Takes nothing at all, and says so."""

        def accept(self, _: Intake) -> Future[None]:
            raise StoreBusy("the disk is full")

        def commit(self, *_: object, **__: object) -> Future[Result]:
            raise StoreBusy("the disk is full")

    station = station_of(Inspector(ScriptedEngine(BAD), clock), FullStore(), acted, clock)
    station.open()
    for _ in range(3):
        station.trigger(frame_of(clock), kind=TriggerKind.MOTION, must=True)
    with pytest.raises(StoreBusy):
        station.trigger(frame_of(clock), kind=TriggerKind.GRPC)
    assert acted.wait_for(3) == [Verdict.NOT_OK] * 3
    station.close()

    assert station.unrecorded == 3
    assert station.counts().triggered == 0, "what no row tells of is counted apart"


def test_verdicts_that_wait_for_the_disk_hold_up_no_other_part() -> None:
    acted, clock = Acted(), HeldClock()
    store = StuckStore()
    store.go.set()
    take, full = store.commit, threading.Event()
    full.set()

    def commit(draft: ResultDraft, images: object, *, keep_until: datetime | None) -> Future[Result]:
        if full.is_set():
            raise StoreBusy("the disk is full")
        return take(draft, images, keep_until=keep_until)

    store.commit = commit  # type: ignore[method-assign]
    station = station_of(Inspector(ScriptedEngine(GOOD), clock), store, acted, clock)
    station.open()
    ids = [station.trigger(frame_of(clock), kind=TriggerKind.MOTION, must=True) for _ in range(5)]
    assert acted.wait_for(5) == [Verdict.OK] * 5
    assert store.committed == []
    full.clear()
    station.close()

    assert [draft.intake.result_id for draft in store.committed] == ids
    assert (station.unrecorded, station.counts().ok) == (0, 5)
