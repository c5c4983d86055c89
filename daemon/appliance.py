"""The running appliance: what servers and command listeners may ask for (`ports.RunningAppliance`).

Holds the parts that `composition` built; owns none of their threads. No decision about parts is taken here.
"""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from lineside.daemon.cameras.push import PushSource
from lineside.daemon.cameras.runner import CameraRunner
from lineside.daemon.clock import Clock
from lineside.daemon.engine_seat import EngineSeat
from lineside.daemon.engine_worker.settings import WorkerState
from lineside.daemon.gates.baseline import BadBaseline
from lineside.daemon.inspection.inspect import engine_ref
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
from lineside.daemon.recipe_book import RecipeBook
from lineside.daemon.requests import Requests, digest_of
from lineside.daemon.settings import DeviceSettings
from lineside.daemon.store.store import Store
from lineside.daemon.temperature import hottest_c
from lineside.daemon.unit import StationUnit
from lineside.daemon.values import Frame, Picture, RecipeRef, Result, TriggerKind
from lineside.daemon.yamlfile import BadFile

ENGINE_STATES = {
    WorkerState.STOPPED: "STARTING",
    WorkerState.STARTING: "STARTING",
    WorkerState.READY: "READY",
    WorkerState.RESTARTING: "RESTARTING",
    WorkerState.FAILED: "FAILED",
}


class Appliance:
    """Answers questions about the device and takes triggers. Every method is thread-safe."""

    def __init__(
        self,
        settings: DeviceSettings,
        *,
        clock: Clock,
        store: Store,
        engine: EngineSeat,
        cameras: Sequence[CameraRunner],
        units: Sequence[StationUnit],
        recipes: RecipeBook,
        requests: Requests,
        jobs: JobBoard,
        consumers: Sequence[str],
        started_at: datetime,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._engine = engine
        self._cameras = {runner.camera.name: runner for runner in cameras}
        self._units = {unit.station.name: unit for unit in units}
        self._recipes = recipes
        self._consumers = tuple(consumers)
        self._started_at = started_at
        self._requests = requests
        self._jobs = jobs
        self._changing = threading.Lock()
        self._refused: Counter[str] = Counter()
        self._refused_lock = threading.Lock()

    def device(self) -> DeviceState:
        """The device as seen now."""
        info = self._engine.info
        ages = [self._store.oldest_unsent_age(consumer) for consumer in self._consumers]
        return DeviceState(
            device=self._settings.id,
            site=self._settings.site,
            area=self._settings.area,
            line=self._settings.line,
            software_version=version("lineside"),
            started_at=self._started_at,
            clock_synchronised=self._clock.synchronised(),
            engine=engine_ref(info) if info is not None else None,
            engine_state=ENGINE_STATES[self._engine.state],
            last_sequence=self._store.last_sequence(),
            outbox_depth={consumer: self._store.depth(consumer) for consumer in self._consumers},
            outbox_oldest_age_s=max((age for age in ages if age is not None), default=None),
            evidence_bytes=self._store.counts().evidence_bytes,
            disk_free_bytes=shutil.disk_usage(Path(self._settings.data_dir)).free,
            temperature_c=hottest_c(),
        )

    def cameras(self) -> Sequence[CameraState]:
        """Every camera as seen now. A file is finished once its stations have looked at all of it."""
        finished = {
            name: all(unit.finished for unit in self._units.values() if unit.runner is runner)
            and any(unit.finished for unit in self._units.values() if unit.runner is runner)
            for name, runner in self._cameras.items()
        }
        return [
            dataclasses.replace(runner.report(), finished=finished[name])
            for name, runner in self._cameras.items()
        ]

    def stations(self) -> Sequence[StationState]:
        """Every station as seen now."""
        return [
            dataclasses.replace(
                unit.state(),
                previous=self._recipes.previous(name),
                job=job.job if (job := self._jobs.running(name)) is not None else "",
            )
            for name, unit in self._units.items()
        ]

    def newest_frame(self, camera: str) -> Frame | None:
        """The newest frame of a camera; None before the first. Raises UnknownName."""
        return self._camera(camera).newest()

    def push_frame(self, camera: str, image: Picture) -> None:
        """Hands a picture to a camera of kind `push`. Raises UnknownName, NotReady."""
        source = self._camera(camera).camera
        if not isinstance(source, PushSource):
            raise NotReady(f"camera '{camera}' is of kind {source.kind}; only `push` takes pictures")
        source.push(image)

    def trigger(
        self,
        station: str,
        *,
        part_id: str | None,
        expected: Mapping[str, str],
        source: TriggerKind,
        request_id: str | None = None,
    ) -> str:
        """Accepts a trigger on the newest frame. Raises UnknownName, NotReady."""
        unit = self._unit(station)

        def act() -> str:
            self._require(station, unit.objections())
            frame = unit.runner.newest()
            return unit.station.trigger(
                frame,
                kind=source,
                part_id=part_id,
                part_box=unit.locate(frame),
                expected=expected,
                trouble=unit.runner.trouble(),
            )

        return self._requests.once(station, request_id, digest_of(part_id, expected), act)

    def inspect_picture(
        self,
        station: str,
        image: Picture,
        *,
        part_id: str | None,
        expected: Mapping[str, str],
        request_id: str | None = None,
    ) -> str:
        """Judges an uploaded picture with the station's recipe. Raises UnknownName, NotReady."""
        unit = self._unit(station)

        def act() -> str:
            self._require(station, unit.objections_to_uploads())
            frame = Frame(unit.station.camera, 0, image, self._clock.monotonic_ns(), self._clock.now())
            return unit.station.trigger(
                frame,
                kind=TriggerKind.GRPC,
                part_id=part_id,
                part_box=unit.locate(frame),
                expected=expected,
                at_line=False,
            )

        return self._requests.once(station, request_id, digest_of(part_id, expected, image.tobytes()), act)

    def refused_triggers(self) -> Mapping[str, int]:
        """Station → triggers that were refused because it could not judge."""
        with self._refused_lock:
            return dict(self._refused)

    def wait_for(self, result_id: str, timeout_s: float) -> Result | None:
        """The stored result, or None when it has not come within `timeout_s`."""
        return self._store.wait_result(result_id, timeout_s)

    def select_recipe(self, station: str, recipe: str) -> RecipeRef:
        """Makes a recipe the station's active one, between two parts. Raises UnknownName, NotReady."""
        return self.activate_recipe(station, recipe, None)[0]

    def activate_recipe(
        self, station: str, recipe: str, version: int | None, expects: RecipeRef | None = None
    ) -> tuple[RecipeRef, RecipeRef]:
        """Makes a recipe version a station's active one; gives it and the one before.

        Raises:
            UnknownName, NotReady: it cannot be; the one before goes on.
            Changed: the station does not judge by what the caller expects.
        """
        unit = self._unit(station)
        # One change at a time: two callers who expect the same recipe must not both be right.
        with self._changing:
            before = unit.station.plan.ref
            if expects is not None and expects != before:
                raise Changed(
                    f"station '{station}' judges by {before.name}@{before.version} by now: read it again"
                )
            try:
                plan = self._recipes.plan(recipe, version)
            except (BadFile, BadBaseline) as error:
                raise NotReady(f"recipe '{recipe}' cannot be used: {error}") from error
            ref = unit.select(plan)
            self._recipes.remember(unit.settings, ref, before)
            return ref, before

    def roll_back_recipe(self, station: str, expects: RecipeRef | None = None) -> tuple[RecipeRef, RecipeRef]:
        """Makes the version before active again. Raises as `activate_recipe` does, and NothingBefore."""
        self._unit(station)
        previous = self._recipes.previous(station)
        if previous is None:
            raise NothingBefore(f"station '{station}' has judged by no other recipe before")
        return self.activate_recipe(station, previous.name, previous.version, expects)

    def create_recipe(
        self, text: str, baseline: bytes | None, goldens: Mapping[str, bytes]
    ) -> tuple[RecipeRef, str]:
        """Installs a recipe version. Raises BadFile, BadBaseline, VersionTaken."""
        loaded = self._recipes.install(text, baseline, goldens)
        return loaded.ref, loaded.text

    def recipes(self) -> Sequence[tuple[RecipeRef, str]]:
        """Every installed recipe version with its YAML text."""
        return self._recipes.all()

    def _camera(self, name: str) -> CameraRunner:
        if name not in self._cameras:
            raise UnknownName(f"there is no camera '{name}'; there are: {', '.join(sorted(self._cameras))}")
        return self._cameras[name]

    def _unit(self, name: str) -> StationUnit:
        if name not in self._units:
            raise UnknownName(f"there is no station '{name}'; there are: {', '.join(sorted(self._units))}")
        return self._units[name]

    def _require(self, station: str, objections: Sequence[str]) -> None:
        if objections:
            with self._refused_lock:
                self._refused[station] += 1
            raise NotReady(f"station '{station}' cannot judge now: {'; '.join(objections)}")
