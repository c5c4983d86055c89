"""What the dashboard knows of a device, as frozen values: what the pages are drawn from.

Nothing here knows protobuf, gRPC or HTML. Boxes are x0, y0, x1, y1 as fractions of the whole
frame with the origin at the top left; times are aware datetimes in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

Box = tuple[float, float, float, float]


class Verdict(StrEnum):
    """A device's evaluation of a part; UNKNOWN is this dashboard's own word for none that it understands."""

    OK = "OK"
    NOT_OK = "NOT_OK"
    NOT_DECIDABLE = "NOT_DECIDABLE"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is what it is; `ask` names the question to blame, or is empty."""

    code: str
    message: str
    ask: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A named defect or reading, and where the engine looked."""

    ask: str
    label: str
    confidence: float
    is_defect: bool
    box: Box | None
    text: str | None
    count: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole answer to one question. `probabilities` are largest first."""

    ask: str
    kind: str
    value: str
    confidence: float
    probabilities: tuple[tuple[str, float], ...]
    runner_up: tuple[str, float] | None
    familiarity: float | None
    box: Box | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stored picture: `evidence_id` names it on the device; `role` is frame or crop."""

    evidence_id: str
    role: str
    ask: str
    media_type: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which recipe version judged."""

    name: str
    version: int
    hash: str


@dataclass(frozen=True, slots=True)
class Engine:
    """Which engine judged; all empty where none did."""

    name: str
    version: str
    digest: str
    runtime: str


@dataclass(frozen=True, slots=True)
class Result:
    """The record of one inspection as the device stored it. `sequence` is the device's one cursor."""

    sequence: int
    result_id: str
    device: str
    station: str
    camera: str
    part_id: str
    part_id_given: bool
    verdict: Verdict
    reasons: tuple[Reason, ...]
    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]
    evidence: tuple[Evidence, ...]
    recipe: Recipe
    engine: Engine
    trigger: str
    triggered_at: datetime | None
    captured_at: datetime | None
    decided_at: datetime | None
    clock_synchronised: bool
    is_simulated: bool
    timings_ms: Mapping[str, float]
    total_ms: float | None
    frame_age_ms: float | None
    part_box: Box | None
    expected: Mapping[str, str]
    prev_hash: str
    row_hash: str

    @property
    def frame(self) -> Evidence | None:
        """The whole picture that was judged, where it was kept."""
        return next((e for e in self.evidence if e.role == "frame"), None)

    @property
    def crop(self) -> Evidence | None:
        """The crop to show small: that of the first defect, else of the first reason, else the first one."""
        asks = [f.ask for f in self.findings if f.is_defect] + [r.ask for r in self.reasons if r.ask]
        crops = [e for e in self.evidence if e.role == "crop"]
        for ask in asks:
            for crop in crops:
                if crop.ask == ask:
                    return crop
        return crops[0] if crops else self.frame


@dataclass(frozen=True, slots=True)
class Counts:
    """How many parts got which verdict, since `since`."""

    ok: int = 0
    not_ok: int = 0
    not_decidable: int = 0
    since: datetime | None = None

    @property
    def total(self) -> int:
        """n: all parts judged."""
        return self.ok + self.not_ok + self.not_decidable


@dataclass(frozen=True, slots=True)
class Station:
    """A station as last heard. `not_ready_because` is empty when it is ready."""

    station: str
    cameras: tuple[str, ...]
    recipe: Recipe | None
    ready: bool
    not_ready_because: tuple[str, ...]
    pending: int


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera as last heard. `last_frame_age_s` is None before its first frame."""

    camera: str
    connected: bool
    last_frame_age_s: float | None
    width: int
    height: int
    detail: str


@dataclass(frozen=True, slots=True)
class Device:
    """A device as last heard. `time`: its wall clock when it answered."""

    device: str
    site: str
    area: str
    line: str
    software_version: str
    engine: Engine
    engine_state: str
    clock_synchronised: bool
    last_sequence: int
    time: datetime | None = None
    outbox_depth: Mapping[str, int] = field(default_factory=dict)
    outbox_oldest_s: float | None = None
    evidence_bytes: int = 0
    disk_free_bytes: int | None = None
    certificate_until: datetime | None = None
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture as a device gave it."""

    media_type: str
    data: bytes
    captured_at: datetime | None = None
    age_s: float | None = None
