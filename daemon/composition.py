"""The composition root: every long-lived object is built here in one visible order, and closed in reverse.

Store first (it owns what was promised before a crash), then the engine, then the ways out, the cameras last:
no frame comes before there is somebody to judge it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import structlog

from lineside.daemon.admission import keep_certificates, rpc_options
from lineside.daemon.appliance import Appliance
from lineside.daemon.cameras.make import make_camera
from lineside.daemon.cameras.recent import RecentFrames
from lineside.daemon.cameras.runner import CameraRunner
from lineside.daemon.cameras.slot import FrameSink
from lineside.daemon.clock import Clock, boot_id
from lineside.daemon.engine_seat import EngineRefused, EngineSeat, Question
from lineside.daemon.engine_shelf import EngineShelf, Told
from lineside.daemon.engine_uploads import ShelfRefused
from lineside.daemon.engine_worker.settings import WorkerSettings, WorkerState
from lineside.daemon.engine_worker.shift import Patience
from lineside.daemon.inspection.inspect import Inspector
from lineside.daemon.inspection.part_numbers import PartNumbers
from lineside.daemon.inspection.station import Station
from lineside.daemon.inspection.watcher import Watcher
from lineside.daemon.job_board import JobBoard
from lineside.daemon.liveness import Pulse
from lineside.daemon.metrics.families import SUBJECTS, Measured
from lineside.daemon.metrics.latency import Latency
from lineside.daemon.metrics.server import MetricsServer
from lineside.daemon.outputs.station_outputs import Outputs
from lineside.daemon.plant import Alarms, consumers, reporters
from lineside.daemon.recipe_book import SHELF, RecipeBook
from lineside.daemon.recipes.shelf import Shelf
from lineside.daemon.reporting.reporter import MqttReporter
from lineside.daemon.requests import Requests
from lineside.daemon.rpc.desks import Desks
from lineside.daemon.rpc.server import RpcServer
from lineside.daemon.rpc.stored import StoredResults
from lineside.daemon.settings import EngineSettings, Settings, StationSettings
from lineside.daemon.sparkplug.reporter import SparkplugReporter
from lineside.daemon.store.desk import Desk
from lineside.daemon.store.store import Store
from lineside.daemon.unit import WARM_S, StationUnit, frame_trigger
from lineside.daemon.values import Intake
from lineside.engines.errors import EngineError
from lineside.engines.signing import TrustPolicy, trust_policy

LOG = structlog.get_logger("appliance")
OPENING_S = 600.0
"""How long opening the store may take: a migration copies the database, and pictures are counted."""


@dataclass(frozen=True, slots=True)
class Running:
    """What runs. `rpc_port` and `metrics_port` are the ports really listened on."""

    appliance: Appliance
    store: Store
    engine: EngineSeat
    units: tuple[StationUnit, ...]
    rpc_port: int
    reporter: MqttReporter | None
    metrics_port: int | None = None
    jobs: JobBoard | None = None
    sparkplug: SparkplugReporter | None = None

    def pulses(self) -> list[Pulse]:
        """The loops that a part passes through, as seen now."""
        health = self.store.healthy()
        # A writer whose disk refuses keeps trying, in view: no restart mends that.
        idle = health.pending_writes == 0 or not health.ok
        writer = Pulse("store-writer", running=True, turns=self.store.last_sequence(), idle=idle)
        stations = [pulse for unit in self.units for pulse in (unit.watcher.pulse(), unit.station.pulse())]
        return [*stations, self.engine.pulse(), writer]


@contextmanager
def running(
    settings: Settings,
    clock: Clock,
    stop: threading.Event,
    *,
    starting: Callable[[float], None] = lambda within_s: None,
) -> Iterator[Running]:
    """Builds and starts the appliance; on the way out closes everything in reverse.

    `starting` hears now and then, while the start goes on, within how many seconds it will hear again.

    Returns control once the engine is loaded and every question prepared (or refused, or `stop` was
    set, or the start took too long: then parts are answered NOT_DECIDABLE until it is there).

    Raises:
        BadFile: a recipe that does not hold.
        StoreError, AddressTaken, MetricsAddressTaken, OSError: what cannot be opened.
    """
    with ExitStack() as stack:
        boot = boot_id()
        starting(OPENING_S)
        alarms = Alarms()
        store = Store.open(
            settings.device.data_dir,
            device=settings.device.id,
            clock=clock,
            evidence_quota_bytes=settings.store.evidence_quota_mb * 2**20,
            on_alarm=alarms.hear,
        )
        stack.callback(store.close)
        interrupted = store.recover(boot)
        if interrupted:
            LOG.warning("parts were interrupted", count=len(interrupted))
        desk = Desk(store, clock)
        requests = Requests(store.accept, desk.outcome)
        jobs = JobBoard(desk)
        jobs.open()
        keep_certificates(settings, clock, stack)
        recipes = RecipeBook(settings.stations, Shelf(settings.device.data_dir / SHELF), store)
        recipes.open()
        configured = worker_settings(settings.engine)
        shelf = EngineShelf(settings.device.data_dir / "engines", configured.bundle, configured.trust)
        engine = EngineSeat(replace(configured, bundle=shelf.active_bundle()), clock)
        engine.open()
        stack.callback(engine.close)
        latency = Latency()
        outputs = Outputs(settings.outputs, clock, alarms.told)
        asked = Asked(requests.accept, jobs.values)
        runners, units = _units(settings, clock, boot, store, engine, recipes, latency, outputs, asked)
        outputs.open({unit.station.name: unit.ready for unit in units})
        stack.callback(outputs.close)
        for unit in units:
            unit.station.open()
            stack.callback(unit.station.close)
        appliance = Appliance(
            settings.device,
            clock=clock,
            store=store,
            engine=engine,
            cameras=runners,
            units=units,
            recipes=recipes,
            requests=requests,
            jobs=jobs,
            consumers=consumers(settings.mqtt),
            started_at=clock.now(),
        )
        switch = partial(_switch, settings.engine, engine, units)
        desks = Desks(desk, jobs, shelf, switch)
        rpc = RpcServer(appliance, StoredResults(store), clock, rpc_options(settings), desks)
        rpc_port = rpc.open()
        stack.callback(rpc.close)
        out = reporters(settings, appliance, store, clock, rpc_port)
        out.open(stack)
        alarms.tell(out)
        metrics_port = None
        if settings.metrics is not None:
            measured = Measured(appliance, store, engine, tuple(units), out.json, latency, out.sparkplug)
            metrics = MetricsServer(
                settings.metrics.listen, {name: partial(read, measured) for name, read in SUBJECTS.items()}
            )
            metrics_port = metrics.open()
            stack.callback(metrics.close)
        _prepare(engine, units, settings.engine.start_timeout_s, stop, starting)
        if engine.state is WorkerState.FAILED and _retreat(engine, shelf, configured, alarms):
            _prepare(engine, units, settings.engine.start_timeout_s, stop, starting)
        for unit in units:
            unit.watcher.open()
            stack.callback(unit.watcher.close)
        for runner in runners:
            runner.start()
            stack.callback(runner.stop)
        yield Running(
            appliance, store, engine, tuple(units), rpc_port, out.json, metrics_port, jobs, out.sparkplug
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What comes with parts from outside: how they are accepted, and what a station's job says of them."""

    accept: Callable[[Intake], Future[None]]
    values: Callable[[str], Mapping[str, str]]


def demo_bundle() -> Path:
    """The engine bundle that ships with the package."""
    return Path(str(files("lineside.engines.demo") / "demo.lsengine"))


def engine_trust(settings: EngineSettings) -> TrustPolicy | None:
    """Whose engines are taken; None: the settings say nothing, and the environment may.

    A folder that the settings name must be there; the one they would have by default counts once it is.
    """
    named = "trust" in settings.model_fields_set
    folder = settings.trust
    if folder is not None and not named and not folder.is_dir():
        folder = None
    if folder is None and not named and settings.require_signature is None:
        return None
    return trust_policy(folder, settings.require_signature)


def worker_settings(settings: EngineSettings) -> WorkerSettings:
    """The engine process as the settings file describes it."""
    return WorkerSettings(
        bundle=settings.bundle or demo_bundle(),
        runtime=settings.runtime,
        threads=settings.threads or None,
        look_ahead=settings.look_ahead,
        trust=engine_trust(settings),
        patience=Patience(start_s=settings.start_timeout_s, answer_s=settings.answer_timeout_s, idle_s=15.0),
    )


def _switch(
    settings: EngineSettings, engine: EngineSeat, units: Sequence[StationUnit], bundle: Path, told: Told
) -> None:
    """Makes another bundle the engine of all stations; raises EngineRefused and changes nothing."""

    def questions() -> list[Question]:
        return [(look.prompt, look.grammar) for unit in units for look in unit.station.plan.looks]

    wanted = replace(worker_settings(settings), bundle=bundle)
    engine.switch(wanted, questions, settings.start_timeout_s, told)


def _retreat(engine: EngineSeat, shelf: EngineShelf, settings: WorkerSettings, alarms: Alarms) -> bool:
    """Where the installed engine cannot be started the one before it judges: a line waits for no person.

    A station whose questions that one cannot ask is not ready, and says so; the others judge.
    """
    because = engine.status().detail

    def switch(bundle: Path, told: Told) -> None:
        engine.switch(replace(settings, bundle=bundle), lambda: (), settings.patience.start_s, told)

    try:
        found = shelf.retreat(switch, lambda stage: LOG.info("going back to the engine before", stage=stage))
    except (ShelfRefused, EngineRefused, EngineError, OSError) as error:
        LOG.error("the engine cannot be started, and there is none to go back to", because=str(error))
        return False
    manifest = found.manifest
    message = (
        f"the active engine cannot be started ({because}): {manifest.name} {manifest.version} judges again"
    )
    LOG.error("engine rolled back", because=because, engine=manifest.name, version=manifest.version)
    alarms.told("ENGINE_ROLLED_BACK", message)
    return True


def _units(
    settings: Settings,
    clock: Clock,
    boot: str,
    store: Store,
    engine: EngineSeat,
    recipes: RecipeBook,
    latency: Latency,
    outputs: Outputs,
    asked: Asked,
) -> tuple[list[CameraRunner], list[StationUnit]]:
    inspector = Inspector(engine, clock)
    cameras = {camera.id: make_camera(camera, clock) for camera in settings.cameras}
    built: list[tuple[StationSettings, Station, Watcher]] = []
    recent: dict[str, RecentFrames] = {}
    runners: dict[str, CameraRunner] = {}
    for entry in settings.stations:
        camera = cameras[entry.camera]
        plan = recipes.plan_for(entry)
        recent[entry.id] = RecentFrames()
        station = Station(
            entry.id,
            entry.camera,
            plan,
            inspector=inspector,
            accept=asked.accept,
            commit=latency.observing(store.commit),
            numbers=PartNumbers(entry.id, store.reserve_numbers),
            clock=clock,
            boot_id=boot,
            lossless=camera.lossless,
            recent=recent[entry.id],
            outputs=outputs.of(entry.id),
            standing=partial(asked.values, entry.id),
        )
        trigger, kind = frame_trigger(entry, plan)
        watcher = Watcher(
            station,
            trigger,
            kind,
            lossless=camera.lossless,
            trouble=lambda name=entry.camera: runners[name].trouble(),  # type: ignore[misc]
        )
        built.append((entry, station, watcher))
    for name, camera in cameras.items():
        here = [(recent[entry.id], watcher) for entry, _, watcher in built if entry.camera == name]
        # What is kept of the past first: a trigger may name a frame as soon as its watcher has it.
        sinks: list[FrameSink] = [kept for kept, _ in here]
        sinks += [watcher.frames for _, watcher in here]
        runners[name] = CameraRunner(camera, sinks, clock)
    units = [
        StationUnit(entry, station, runners[entry.camera], watcher, engine, outputs.of(entry.id))
        for entry, station, watcher in built
    ]
    return list(runners.values()), units


def _prepare(
    engine: EngineSeat,
    units: list[StationUnit],
    timeout_s: float,
    stop: threading.Event,
    starting: Callable[[float], None],
) -> None:
    """Waits for the engine and has it prepare every question; in short steps, so that a stop is heard."""
    warmed = [look for unit in units for look in unit.warm(unit.station.plan)]
    waited = 0.0
    while waited < timeout_s and not stop.is_set():
        starting(2 * WARM_S)
        if engine.wait_until_loaded(0.5) in (WorkerState.READY, WorkerState.FAILED):
            break
        waited += 0.5
    wait([look.future for look in warmed], timeout=WARM_S)
    for look in warmed:
        objection = look.objection()
        if objection is not None:
            LOG.error("station is not ready", because=objection)
