"""What the outer parts of the daemon (gRPC, MQTT commands) may ask of the running appliance.

`appliance.Appliance` implements `RunningAppliance`; servers depend on this protocol alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lineside.daemon.values import EngineRef, Frame, Picture, RecipeRef, Result, TriggerKind


@dataclass(frozen=True, slots=True)
class CameraState:
    """A camera as seen now. `last_frame_age_s` is None before the first frame."""

    camera: str
    kind: str
    source: str  # passwords masked
    connected: bool
    frames: int
    dropped: int
    reconnects: int
    last_frame_age_s: float | None
    width: int
    height: int
    detail: str = ""
    finished: bool = False  # a file or folder that was played to its end


@dataclass(frozen=True, slots=True)
class StationState:
    """A station as seen now. `not_ready_because` is empty when it is ready to judge."""

    station: str
    cameras: tuple[str, ...]
    recipe: RecipeRef
    ready: bool
    not_ready_because: tuple[str, ...]
    triggered: int
    judged: int
    ok: int
    not_ok: int
    not_decidable: int
    pending: int
    previous: RecipeRef | None = None
    job: str = ""  # that runs there


@dataclass(frozen=True, slots=True)
class DeviceState:
    """The device as seen now."""

    device: str
    site: str
    area: str
    line: str
    software_version: str
    started_at: datetime
    clock_synchronised: bool
    engine: EngineRef | None
    engine_state: str  # STARTING, READY, RESTARTING, FAILED
    last_sequence: int
    outbox_depth: Mapping[str, int]  # consumer → results not yet delivered
    outbox_oldest_age_s: float | None
    evidence_bytes: int
    disk_free_bytes: int
    temperature_c: float | None = None  # the hottest zone; None where the machine shows none


class NotReady(Exception):
    """The station cannot take a trigger now; the message says why and what to do."""


class Changed(Exception):
    """What the caller read before is no longer so; read it again."""


class NothingBefore(Exception):
    """There is nothing to roll back to."""


class UnknownName(Exception):
    """No such station, camera or recipe; the message names those that exist."""


class RunningAppliance(Protocol):
    """What servers and command listeners may ask for. Every method is thread-safe."""

    def device(self) -> DeviceState: ...

    def cameras(self) -> Sequence[CameraState]: ...

    def stations(self) -> Sequence[StationState]: ...

    def newest_frame(self, camera: str) -> Frame | None: ...

    def push_frame(self, camera: str, image: Picture) -> None:
        """Hands a picture to a camera of kind `push`."""
        ...

    def trigger(
        self,
        station: str,
        *,
        part_id: str | None,
        expected: Mapping[str, str],
        source: TriggerKind,
        request_id: str | None = None,
    ) -> str:
        """Accepts a trigger on the newest frame and gives the result id that will come.

        The same `request_id` gives the same result id and inspects once.

        Raises:
            UnknownName, NotReady.
        """
        ...

    def inspect_picture(
        self,
        station: str,
        image: Picture,
        *,
        part_id: str | None,
        expected: Mapping[str, str],
        request_id: str | None = None,
    ) -> str:
        """Judges an uploaded picture with the station's active recipe; gives the result id that will come."""
        ...

    def wait_for(self, result_id: str, timeout_s: float) -> Result | None:
        """The stored result, or None when it has not come within `timeout_s`."""
        ...

    def select_recipe(self, station: str, recipe: str) -> RecipeRef:
        """Makes a recipe the station's active one, between two parts. Raises UnknownName, NotReady."""
        ...

    def recipes(self) -> Sequence[tuple[RecipeRef, str]]:
        """Every installed recipe version with its YAML text."""
        ...

    def create_recipe(
        self, text: str, baseline: bytes | None, goldens: Mapping[str, bytes]
    ) -> tuple[RecipeRef, str]:
        """Installs a recipe version. Raises BadFile, BadBaseline, VersionTaken."""
        ...

    def activate_recipe(
        self, station: str, recipe: str, version: int | None, expects: RecipeRef | None = None
    ) -> tuple[RecipeRef, RecipeRef]:
        """Makes a recipe version a station's active one; gives it and the one before.

        `expects`: the one the caller believes to be active; None: whichever is.

        Raises:
            UnknownName, NotReady, Changed.
        """
        ...

    def roll_back_recipe(self, station: str, expects: RecipeRef | None = None) -> tuple[RecipeRef, RecipeRef]:
        """Makes the version before active again. Raises UnknownName, NotReady, Changed, NothingBefore."""
        ...
