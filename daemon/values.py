"""The values that travel from a camera's frame to a stored result: one frozen type per stage, no behaviour.

Words are those of OPC 40100 (machine vision) and ISA-95: part, recipe, result, verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""BGR as OpenCV has it, (height, width, 3), uint8."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 as fractions of the picture's width and height; the origin is the top left corner."""


class Verdict(StrEnum):
    """OPC 40001-101 ResultEvaluation. Screens say OK / NG / Review."""

    OK = "OK"
    NOT_OK = "NOT_OK"
    NOT_DECIDABLE = "NOT_DECIDABLE"


class TriggerKind(StrEnum):
    """What made a part of the stream an inspection."""

    INTERVAL = "interval"
    MOTION = "motion"
    EVERY_FRAME = "every_frame"
    MQTT = "mqtt"
    GRPC = "grpc"
    FILE = "file"


class ReasonCode(StrEnum):
    """Why a verdict is what it is. Stable: plant software switches on these."""

    FINDING = "FINDING"  # a named defect was found
    RULE = "RULE"  # a rule that a machine can check failed
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    UNFAMILIAR = "UNFAMILIAR"  # the picture is unlike what the engine was trained on
    IMAGE_QUALITY = "IMAGE_QUALITY"  # blur, exposure, glare, frozen, black
    STALE_FRAME = "STALE_FRAME"
    NO_FRAME = "NO_FRAME"
    LATE = "LATE"
    OVERLOADED = "OVERLOADED"
    ENGINE_ERROR = "ENGINE_ERROR"
    ENGINE_CRASHED = "ENGINE_CRASHED"
    UNDECODABLE = "UNDECODABLE"
    INTERRUPTED = "INTERRUPTED"  # the device stopped between trigger and verdict
    INTERNAL_ERROR = "INTERNAL_ERROR"


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of one camera. `index` counts from 0 per opened source; `captured_ns` is monotonic.

    `played_ns`: its place in a recording that is not played at its own speed; None for all others.
    """

    camera: str
    index: int
    image: Picture
    captured_ns: int
    captured_at: datetime
    played_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a verdict; `ask` is the question's id where one question is to blame."""

    code: ReasonCode
    message: str
    ask: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One named defect or reading. `box` in fractions of the whole frame: where the engine looked."""

    ask: str
    label: str
    confidence: float
    is_defect: bool
    box: Box | None = None
    text: str | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class AskOutcome:
    """The whole answer to one question of the recipe, for trust and for calibration."""

    ask: str
    kind: str
    value: str | int | None
    confidence: float
    probabilities: Mapping[str, float]
    runner_up: tuple[str, float] | None
    familiarity: float | None
    box: Box


@dataclass(frozen=True, slots=True)
class RecipeRef:
    """Which recipe judged: exactly one version per result."""

    name: str
    version: int
    hash: str


@dataclass(frozen=True, slots=True)
class EngineRef:
    """Which engine judged."""

    name: str
    version: str
    digest: str
    runtime: str


@dataclass(frozen=True, slots=True)
class EvidenceImage:
    """A picture to keep, before it is stored: `data` is the encoded file."""

    role: str  # "frame", "crop", "clip" (a clip's pictures side by side) or "golden" (the reference)
    ask: str | None
    media_type: str
    width: int
    height: int
    data: bytes


@dataclass(frozen=True, slots=True)
class EvidenceRef:
    """A stored picture: `evidence_id` is `<sha256 hex>` and names the file."""

    evidence_id: str
    role: str
    ask: str | None
    media_type: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Intake:
    """A trigger that was accepted: from here on the part always gets exactly one verdict."""

    result_id: str  # UUIDv7
    station: str
    camera: str
    part_id: str
    part_id_given: bool
    trigger: TriggerKind
    triggered_at: datetime
    boot_id: str
    frame_index: int | None
    recipe: RecipeRef
    expected: Mapping[str, str] = field(default_factory=dict)  # what MES sent with the job: lot, quantity
    is_simulated: bool = False


@dataclass(frozen=True, slots=True)
class ResultDraft:
    """A verdict before it is stored: everything but the sequence number, hashes and evidence references."""

    intake: Intake
    verdict: Verdict
    reasons: tuple[Reason, ...]
    findings: tuple[Finding, ...]
    outcomes: tuple[AskOutcome, ...]
    engine: EngineRef | None
    captured_at: datetime | None
    decided_at: datetime
    clock_synchronised: bool
    timings_ms: Mapping[str, float]
    part_box: Box | None = None
    frame_age_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The record of an inspection as stored. `sequence` is the device's one cursor (outbox row id).

    `prev_hash` and `row_hash` chain the rows: sha256 over the canonical JSON of the record.
    `evidence_lost`: pictures were to be kept and could not be written; the verdict stands.
    """

    sequence: int
    device: str
    draft: ResultDraft
    evidence: tuple[EvidenceRef, ...]
    prev_hash: str
    row_hash: str
    evidence_lost: bool = False

    @property
    def result_id(self) -> str:
        """The key that plant software uses everywhere."""
        return self.draft.intake.result_id

    @property
    def verdict(self) -> Verdict:
        """OK, NOT_OK or NOT_DECIDABLE."""
        return self.draft.verdict
