"""A gRPC server over a real socket, with an appliance double and the real store."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest

from lineside.daemon.clock import SystemClock
from lineside.daemon.engine_shelf import EngineShelf
from lineside.daemon.job_board import JobBoard
from lineside.daemon.ports import (
    CameraState,
    Changed,
    DeviceState,
    NothingBefore,
    NotReady,
    StationState,
    UnknownName,
)
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.rpc.desks import Desks
from lineside.daemon.rpc.options import RpcOptions
from lineside.daemon.rpc.server import RpcServer
from lineside.daemon.rpc.stored import StoredResults
from lineside.daemon.store import Store
from lineside.daemon.store.desk import Desk
from lineside.daemon.values import (
    AskOutcome,
    EngineRef,
    EvidenceImage,
    EvidenceRef,
    Finding,
    Frame,
    Intake,
    Picture,
    Reason,
    ReasonCode,
    RecipeRef,
    Result,
    ResultDraft,
    TriggerKind,
    Verdict,
)

DEMO = Path(__file__).parents[3] / "engines" / "demo" / "demo.lsengine"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENGINE = EngineRef("demo", "1.0.0", "ab" * 32, "onnxruntime")
RECIPES = (
    (RecipeRef("cap", 1, "11" * 32), "recipe: cap\n"),
    (RecipeRef("cap", 2, "22" * 32), "recipe: cap # two\n"),
    (RecipeRef("label", 1, "33" * 32), "recipe: label\n"),
)


def make_result(
    sequence: int,
    *,
    result_id: str | None = None,
    station: str = "st1",
    verdict: Verdict = Verdict.OK,
    part_id: str = "p",
    trigger: TriggerKind = TriggerKind.MOTION,
    evidence: tuple[EvidenceRef, ...] = (),
    is_simulated: bool = False,
) -> Result:
    """A result as the store would give it, a second after the one before."""
    at = NOON + timedelta(seconds=sequence)
    intake = Intake(
        result_id=result_id or f"r{sequence}",
        station=station,
        camera="cam1",
        part_id=part_id,
        part_id_given=True,
        trigger=trigger,
        triggered_at=at,
        boot_id="boot",
        frame_index=sequence,
        recipe=RECIPES[1][0],
        expected={"lot": "L1"},
        is_simulated=is_simulated,
    )
    draft = ResultDraft(
        intake=intake,
        verdict=verdict,
        reasons=() if verdict is Verdict.OK else (Reason(ReasonCode.FINDING, "cracked", "cap"),),
        findings=(Finding("cap", "cracked", 0.97, True, box=(0.1, 0.2, 0.3, 0.4)),),
        outcomes=(
            AskOutcome(
                "cap",
                "choice",
                "cracked",
                0.97,
                {"cracked": 0.97, "ok": 0.03},
                ("ok", 0.03),
                0.5,
                (0, 0, 1, 1),
            ),
            AskOutcome("holes", "count", 3, 0.9, {"3": 0.9}, None, None, (0, 0, 1, 1)),
        ),
        engine=ENGINE,
        captured_at=at - timedelta(milliseconds=12),
        decided_at=at + timedelta(milliseconds=40),
        clock_synchronised=True,
        timings_ms={"engine": 31.5},
        frame_age_ms=12.0,
    )
    return Result(sequence, "box7", draft, evidence, "00" * 32, "ff" * 32, False)


class Shelf:
    """Puts results into the real store, and reads as the server reads."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self.reader = StoredResults(store)
        self.last_sequence = store.last_sequence
        self.wait_beyond = store.wait_beyond
        self.get = store.get
        self.desk = Desk(store, SystemClock())
        self.jobs = JobBoard(self.desk)
        self.switched: list[Path] = []
        self.selftested: list[Path] = []
        self.engines = EngineShelf(folder / "engines", DEMO, None, selftest=self.selftested.append)
        self.desks = Desks(self.desk, self.jobs, self.engines, lambda path, told: self.switched.append(path))

    def add(self, result: Result, images: tuple[EvidenceImage, ...] = ()) -> Result:
        """Stores what the result says; the store must give it the sequence that the test means."""
        self._store.accept(result.draft.intake)
        stored = self._store.commit(result.draft, images).result(60)
        assert stored.sequence == result.sequence
        return stored

    def add_picture(self, data: bytes) -> EvidenceRef:
        image = EvidenceImage("frame", None, "image/jpeg", 4, 3, data)
        return self.add(make_result(self.last_sequence() + 1), (image,)).evidence[0]


class ApplianceDouble:
    """An appliance that judges at once; `hold` keeps verdicts back until `release`."""

    def __init__(self, results: Shelf) -> None:
        self.results = results
        self.engine_state = "READY"
        self.ready = True
        self.broken = False
        self.hold = False
        self.asked: list[tuple[str, str | None, dict[str, str], TriggerKind]] = []
        self.pictures: list[Picture] = []
        self.pushed: list[tuple[str, Picture]] = []
        self.frame: Frame | None = None
        self._ids = itertools.count(1)
        self._by_request: dict[str, str] = {}
        self._held: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._active = {"st1": RECIPES[1][0], "st2": RECIPES[2][0]}
        self._previous: dict[str, RecipeRef] = {}
        self._recipes = list(RECIPES)

    def device(self) -> DeviceState:
        if self.broken:
            raise RuntimeError("secret: /etc/password")
        return DeviceState(
            device="box7",
            site="north",
            area="filling",
            line="l1",
            software_version="0.1.0",
            started_at=NOON,
            clock_synchronised=True,
            engine=ENGINE,
            engine_state=self.engine_state,
            last_sequence=self.results.last_sequence(),
            outbox_depth={"mqtt": 3},
            outbox_oldest_age_s=1.5,
            evidence_bytes=10,
            disk_free_bytes=20,
        )

    def cameras(self) -> Sequence[CameraState]:
        live = CameraState("cam1", "file", "line.mp4", True, 5, 1, 0, 0.02, 640, 480)
        push = CameraState("push1", "push", "", True, 0, 0, 0, None, 0, 0, "nothing pushed yet")
        return (push, live)

    def stations(self) -> Sequence[StationState]:
        return tuple(
            StationState(
                name,
                ("cam1",),
                recipe,
                self.ready,
                () if self.ready else ("engine starting",),
                4,
                3,
                1,
                1,
                1,
                1,
                previous=self._previous.get(name),
                job=job.job if (job := self.results.jobs.running(name)) is not None else "",
            )
            for name, recipe in self._active.items()
        )

    def newest_frame(self, camera: str) -> Frame | None:
        return self.frame if camera == "cam1" else None

    def push_frame(self, camera: str, image: Picture) -> None:
        self.pushed.append((camera, image))

    def trigger(
        self,
        station: str,
        *,
        part_id: str | None,
        expected: Mapping[str, str],
        source: TriggerKind,
        request_id: str | None = None,
    ) -> str:
        if not self.ready:
            raise NotReady("station 'st1' is not ready: the engine is starting")
        with self._lock:
            if request_id in self._by_request:
                return self._by_request[request_id]
            self.asked.append((station, part_id, dict(expected), source))
            number = next(self._ids)
            result_id = f"live{number}"
            if request_id:
                self._by_request[request_id] = result_id

            def judge() -> None:
                self.results.add(
                    make_result(
                        self.results.last_sequence() + 1,
                        result_id=result_id,
                        station=station,
                        part_id=part_id or "made",
                        trigger=source,
                    )
                )

            if self.hold:
                self._held.append(judge)
            else:
                judge()
        return result_id

    def release(self) -> None:
        with self._lock:
            held, self._held = self._held, []
            for judge in held:
                judge()

    def inspect_picture(
        self,
        station: str,
        image: Picture,
        *,
        part_id: str | None,
        expected: Mapping[str, str],
        request_id: str | None = None,
    ) -> str:
        self.pictures.append(image)
        return self.trigger(
            station, part_id=part_id, expected=expected, source=TriggerKind.GRPC, request_id=request_id
        )

    def wait_for(self, result_id: str, timeout_s: float) -> Result | None:
        found = self.results.get(result_id)
        if found is None:
            self.results.wait_beyond(self.results.last_sequence(), timeout_s)
            found = self.results.get(result_id)
        return found

    def select_recipe(self, station: str, recipe: str) -> RecipeRef:
        return self.activate_recipe(station, recipe, None)[0]

    def activate_recipe(
        self, station: str, recipe: str, version: int | None, expects: RecipeRef | None = None
    ) -> tuple[RecipeRef, RecipeRef]:
        fit = [ref for ref, _ in self._recipes if ref.name == recipe and version in {None, ref.version}]
        if not fit:
            raise UnknownName(f"no recipe '{recipe}'")
        before = self._active[station]
        if expects not in {None, before}:
            raise Changed(f"'{before.name}' by now")
        now = self._active[station] = max(fit, key=lambda ref: ref.version)
        if now != before:
            self._previous[station] = before
        return now, before

    def roll_back_recipe(self, station: str, expects: RecipeRef | None = None) -> tuple[RecipeRef, RecipeRef]:
        if station not in self._previous:
            raise NothingBefore("no other recipe before")
        before = self._previous[station]
        return self.activate_recipe(station, before.name, before.version, expects)

    def create_recipe(
        self, text: str, baseline: bytes | None, goldens: Mapping[str, bytes]
    ) -> tuple[RecipeRef, str]:
        loaded = parse_recipe(text, "recipe")
        if (loaded.ref, text) not in self._recipes:
            self._recipes.append((loaded.ref, text))
        return loaded.ref, text

    def recipes(self) -> Sequence[tuple[RecipeRef, str]]:
        return self._recipes


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Shelf]:
    with Store.open(tmp_path / "store", device="box7", clock=SystemClock()) as store:
        yield Shelf(store, tmp_path)


@pytest.fixture
def appliance(results: Shelf) -> ApplianceDouble:
    return ApplianceDouble(results)


OPTIONS = RpcOptions(address="127.0.0.1:0", heartbeat_s=0.2)


@pytest.fixture
def serve(
    appliance: ApplianceDouble, results: Shelf
) -> Iterator[Callable[..., tuple[RpcServer, grpc.Channel]]]:
    """Starts servers with given options; gives each with a channel to it."""
    opened: list[tuple[RpcServer, grpc.Channel]] = []

    def start(**changes: object) -> tuple[RpcServer, grpc.Channel]:
        server = RpcServer(
            appliance, results.reader, SystemClock(), replace(OPTIONS, **changes), results.desks
        )  # type: ignore[arg-type]
        port = server.open()
        # Plain channels: no proxy of this machine may come between, and no subchannel is shared.
        channel = grpc.insecure_channel(
            f"127.0.0.1:{port}",
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)],
        )
        opened.append((server, channel))
        return server, channel

    yield start
    for server, channel in opened:
        channel.close()
        server.close(grace_s=0.2)


@pytest.fixture
def channel(serve: Callable[..., tuple[RpcServer, grpc.Channel]]) -> grpc.Channel:
    return serve()[1]


def picture(width: int = 64, height: int = 48) -> Picture:
    """A picture with a slope, so that a turned or swapped one is not equal."""
    across = np.linspace(0, 255, width, dtype=np.uint8)
    return np.stack([np.tile(across, (height, 1))] * 3, axis=-1)


@pytest.fixture
def make() -> Callable[..., Result]:
    return make_result


@pytest.fixture
def draw() -> Callable[..., Picture]:
    return picture
