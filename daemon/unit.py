"""A station with what belongs to it: camera, trigger, active recipe, and why it may not be ready.

Built by the appliance. Decides nothing about parts.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass

from lineside.daemon.cameras.runner import CameraRunner, RunnerState
from lineside.daemon.engine_seat import EngineSeat
from lineside.daemon.engine_worker.messages import EngineProblem
from lineside.daemon.engine_worker.settings import WorkerState
from lineside.daemon.inspection.plan import Plan
from lineside.daemon.inspection.station import Station
from lineside.daemon.inspection.watcher import Watcher
from lineside.daemon.outputs.station_outputs import NO_OUTPUTS, StationOutputs
from lineside.daemon.ports import NotReady, StationState
from lineside.daemon.settings import StationSettings
from lineside.daemon.triggers.base import FrameTrigger
from lineside.daemon.triggers.make import make_trigger
from lineside.daemon.triggers.motion.locate import locate_part
from lineside.daemon.triggers.options import MotionOptions
from lineside.daemon.values import Box, Frame, RecipeRef, TriggerKind

WARM_S = 60.0
"""How long preparing all questions of a recipe may take before the station says that it still does."""


@dataclass(frozen=True, slots=True)
class WarmedLook:
    """One question handed to the engine to prepare."""

    ask: str
    future: Future[EngineProblem | None]

    def objection(self) -> str | None:
        """Why the question cannot be asked yet, or at all."""
        if not self.future.done():
            return f"the engine is still preparing question '{self.ask}'"
        problem = self.future.result()
        return None if problem is None else f"the engine refuses question '{self.ask}': {problem.message}"


class StationUnit:
    """One configured station. Thread-safe."""

    def __init__(
        self,
        settings: StationSettings,
        station: Station,
        runner: CameraRunner,
        watcher: Watcher,
        engine: EngineSeat,
        outputs: StationOutputs = NO_OUTPUTS,
    ) -> None:
        self.settings = settings
        self.station = station
        self.runner = runner
        self.watcher = watcher
        self.outputs = outputs
        self._engine = engine
        self._lock = threading.Lock()
        self._warmed: tuple[WarmedLook, ...] = ()

    def warm(self, plan: Plan) -> tuple[WarmedLook, ...]:
        """Has the engine prepare every question of a plan; the station is not ready until it has."""
        warmed = tuple(
            WarmedLook(look.ask, self._engine.warm(look.prompt, look.grammar)) for look in plan.looks
        )
        with self._lock:
            self._warmed = warmed
        return warmed

    def select(self, plan: Plan) -> RecipeRef:
        """Makes `plan` the recipe of every part triggered from now on, trigger included.

        Raises:
            NotReady: the engine cannot ask its questions; the recipe in use stays.
        """
        warmed = self.warm(plan)
        wait([look.future for look in warmed], timeout=WARM_S)
        objections = [objection for look in warmed if (objection := look.objection()) is not None]
        if objections:
            self.warm(self.station.plan)
            raise NotReady(f"recipe '{plan.ref.name}' cannot be used: {'; '.join(objections)}")
        self.watcher.use(*frame_trigger(self.settings, plan))
        return self.station.use(plan)

    def locate(self, frame: Frame | None) -> Box | None:
        """The part's box in one frame, for recipes whose regions lie on it; None where none is found."""
        recipe = self.station.plan.loaded.recipe
        if frame is None or recipe.anchor != "part" or not isinstance(recipe.trigger, MotionOptions):
            return None
        return locate_part(frame.image, recipe.trigger)

    def objections(self) -> tuple[str, ...]:
        """Why a trigger would not be accepted now; empty when it would."""
        return (*self._engine_objections(), *self._camera_objections(), *self.outputs.objections())

    def ready(self) -> bool:
        """Whether a trigger would be accepted now, and its part judged."""
        return not self.objections()

    def objections_to_uploads(self) -> tuple[str, ...]:
        """The same for a picture that is handed in: the camera does not matter."""
        return self._engine_objections()

    def _engine_objections(self) -> tuple[str, ...]:
        status = self._engine.status()
        if status.state is not WorkerState.READY:
            detail = f": {status.detail}" if status.detail else ""
            return (f"the engine is {status.state.lower()}{detail}",)
        with self._lock:
            warmed = self._warmed
        return tuple(objection for look in warmed if (objection := look.objection()) is not None)

    def _camera_objections(self) -> tuple[str, ...]:
        if self.runner.state is RunnerState.FINISHED:
            return (f"camera {self.runner.camera.name} has shown its whole file",)
        trouble = self.runner.trouble()
        return () if trouble is None else (trouble.message,)

    @property
    def finished(self) -> bool:
        """Whether the camera's file was played to its end and every frame of it was looked at."""
        return self.runner.state is RunnerState.FINISHED and self.watcher.finished

    def state(self) -> StationState:
        """The station as people and servers see it."""
        counts = self.station.counts()
        objections = self.objections()
        return StationState(
            station=self.station.name,
            cameras=(self.station.camera,),
            recipe=self.station.plan.ref,
            ready=not objections,
            not_ready_because=objections,
            triggered=counts.triggered,
            judged=counts.ok + counts.not_ok + counts.not_decidable,
            ok=counts.ok,
            not_ok=counts.not_ok,
            not_decidable=counts.not_decidable,
            pending=counts.pending,
        )


def frame_trigger(settings: StationSettings, plan: Plan) -> tuple[FrameTrigger | None, TriggerKind]:
    """What looks for parts in the stream; None when triggers come from outside (MQTT, gRPC)."""
    options = settings.trigger or plan.loaded.recipe.trigger
    return make_trigger(options), TriggerKind(options.kind)
