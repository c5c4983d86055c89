"""The real store, parts that come along, and an appliance double."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lineside.daemon.clock import SystemClock
from lineside.daemon.ports import CameraState, DeviceState, NotReady, StationState, UnknownName
from lineside.daemon.store import Store
from lineside.daemon.values import (
    AskOutcome,
    EngineRef,
    Finding,
    Intake,
    Reason,
    ReasonCode,
    RecipeRef,
    Result,
    ResultDraft,
    TriggerKind,
    Verdict,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECIPE = RecipeRef("cap", 2, "22" * 32)


class ApplianceDouble:
    """An appliance that takes triggers for `st1` and `st2` and notes them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.ready = True
        self.broken = False
        self.engine_state = "READY"
        self.asked: list[tuple[str, str | None, dict[str, str], TriggerKind, str | None]] = []
        self.selected: list[tuple[str, str]] = []

    def device(self) -> DeviceState:
        return DeviceState(
            device="box7",
            site="north",
            area="filling",
            line="l1",
            software_version="0.1.0",
            started_at=NOON,
            clock_synchronised=True,
            engine=EngineRef("demo", "1.0.0", "ab" * 32, "onnxruntime"),
            engine_state=self.engine_state,
            last_sequence=self._store.last_sequence(),
            outbox_depth={"mqtt": 3},
            outbox_oldest_age_s=None,
            evidence_bytes=10,
            disk_free_bytes=20,
        )

    def cameras(self) -> Sequence[CameraState]:
        return (CameraState("cam1", "file", "line.mp4", True, 5, 1, 0, 0.02, 640, 480),)

    def stations(self) -> Sequence[StationState]:
        because = () if self.ready else ("the engine is starting",)
        return tuple(
            StationState(name, ("cam1",), RECIPE, self.ready, because, 4, 3, 1, 1, 1, 1)
            for name in ("st1", "st2")
        )

    def trigger(
        self,
        station: str,
        *,
        part_id: str | None,
        expected: Mapping[str, str],
        source: TriggerKind,
        request_id: str | None = None,
    ) -> str:
        if self.broken:
            raise RuntimeError("secret: /etc/password")
        if station not in {"st1", "st2"}:
            raise UnknownName(f"no station '{station}': there are st1, st2")
        if not self.ready:
            raise NotReady("the engine is starting")
        self.asked.append((station, part_id, dict(expected), source, request_id))
        return f"result-{len(self.asked)}"

    def select_recipe(self, station: str, recipe: str) -> RecipeRef:
        if recipe != "cap":
            raise UnknownName(f"no recipe '{recipe}': there is cap")
        self.selected.append((station, recipe))
        return RECIPE


def make_draft(number: int, station: str) -> ResultDraft:
    """A verdict with something in every field."""
    verdict = list(Verdict)[number % 3]
    at = NOON + timedelta(seconds=number)
    intake = Intake(
        result_id=f"r{number:06d}",
        station=station,
        camera="cam1",
        part_id=f"p {number} ü",
        part_id_given=True,
        trigger=TriggerKind.MOTION,
        triggered_at=at,
        boot_id="boot",
        frame_index=number,
        recipe=RECIPE,
        expected={"lot": "L1"},
    )
    return ResultDraft(
        intake=intake,
        verdict=verdict,
        reasons=() if verdict is Verdict.OK else (Reason(ReasonCode.FINDING, "cracked", "cap"),),
        findings=(Finding("cap", "cracked", 0.97, True, box=(0.1, 0.2, 0.3, 0.4)),),
        outcomes=(AskOutcome("cap", "choice", "ok", 0.9, {"ok": 0.9}, ("cracked", 0.1), 0.5, (0, 0, 1, 1)),),
        engine=EngineRef("demo", "1.0.0", "ab" * 32, "onnxruntime"),
        captured_at=at,
        decided_at=at + timedelta(milliseconds=40),
        clock_synchronised=True,
        timings_ms={"engine": 31.5},
        frame_age_ms=12.0,
    )


class Line:
    """Parts that come along: stores results, numbered on, for alternating stations."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.results: list[Result] = []

    def judge(self, count: int) -> None:
        futures = []
        for number in range(len(self.results) + 1, len(self.results) + count + 1):
            draft = make_draft(number, "st1" if number % 2 else "st2")
            self._store.accept(draft.intake)
            futures.append(self._store.commit(draft))
        self.results += [future.result(60) for future in futures]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", device="box7", clock=SystemClock()) as opened:
        yield opened


@pytest.fixture
def line(store: Store) -> Line:
    return Line(store)


@pytest.fixture
def appliance(store: Store) -> ApplianceDouble:
    return ApplianceDouble(store)
