"""What a device and its stations are in Sparkplug's words: pure functions from states and results to metrics.

`docs/sparkplug.md` lists every name. Names never change once released: historians are keyed by them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from lineside.daemon.ports import CameraState, DeviceState, StationState
from lineside.daemon.sparkplug.payload import DataType, Metric, Value
from lineside.daemon.values import Result

SELECT_RECIPE = "Device Control/Recipe"
DISK_STEP = 100 * 2**20
"""Free bytes are told in steps of this size: each byte told would be a message every second."""


def milliseconds(at: datetime) -> int:
    """Milliseconds since 1970, UTC."""
    return int(at.timestamp() * 1000)


def node(state: DeviceState, alert: tuple[str, str], at_ms: int) -> list[Metric]:
    """The device itself. `alert`: code and message of the last one, empty before the first."""
    engine = state.engine
    rows: Sequence[tuple[str, DataType, Value]] = (
        ("Properties/SoftwareVersion", DataType.STRING, state.software_version),
        ("Properties/EngineName", DataType.STRING, None if engine is None else engine.name),
        ("Properties/EngineVersion", DataType.STRING, None if engine is None else engine.version),
        ("Properties/EngineHash", DataType.STRING, None if engine is None else engine.digest),
        ("Properties/StartedAt", DataType.DATETIME, milliseconds(state.started_at)),
        ("Health/EngineState", DataType.STRING, state.engine_state),
        ("Health/ClockSynchronised", DataType.BOOLEAN, state.clock_synchronised),
        ("Health/DiskFreeBytes", DataType.UINT64, state.disk_free_bytes // DISK_STEP * DISK_STEP),
        ("Alert/Code", DataType.STRING, alert[0]),
        ("Alert/Message", DataType.STRING, alert[1]),
    )
    return [Metric(name, kind, value, at_ms) for name, kind, value in rows]


def station(
    state: StationState,
    cameras: Mapping[str, CameraState],
    newest: Result | None,
    refusal: str,
    at_ms: int,
) -> list[Metric]:
    """A station: its result metrics as of `newest`, null before the first, and its state.

    `refusal`: why the last command was not done; empty when it was.
    """
    seen = [cameras[name].connected for name in state.cameras if name in cameras]
    rows: Sequence[tuple[str, DataType, Value]] = (
        (SELECT_RECIPE, DataType.STRING, state.recipe.name),
        ("Device Control/Refusal", DataType.STRING, refusal),
        ("Recipe/Name", DataType.STRING, state.recipe.name),
        ("Recipe/Version", DataType.UINT32, state.recipe.version),
        ("Recipe/Hash", DataType.STRING, state.recipe.hash),
        ("Job/JobId", DataType.STRING, state.job),
        ("Health/Ready", DataType.BOOLEAN, state.ready),
        ("Health/NotReadyBecause", DataType.STRING, "; ".join(state.not_ready_because)),
        ("Health/CameraConnected", DataType.BOOLEAN, all(seen)),
        ("Counters/Triggered", DataType.UINT64, state.triggered),
        ("Counters/OK", DataType.UINT64, state.ok),
        ("Counters/NotOK", DataType.UINT64, state.not_ok),
        ("Counters/NotDecidable", DataType.UINT64, state.not_decidable),
    )
    return [*result(newest, at_ms), *(Metric(name, kind, value, at_ms) for name, kind, value in rows)]


def result(found: Result | None, at_ms: int = 0) -> list[Metric]:
    """A result, with the time it was decided; None: null metrics, as before a station's first part."""
    values = dict.fromkeys(_RESULT) if found is None else _values(found)
    at = at_ms if found is None else milliseconds(found.draft.decided_at)
    return [Metric(f"Result/{name}", kind, values[name], at) for name, kind in _RESULT.items()]


_RESULT: Mapping[str, DataType] = {
    "ResultId": DataType.STRING,
    "Sequence": DataType.INT64,
    "ResultEvaluation": DataType.STRING,
    "Reasons": DataType.STRING,
    "PartId": DataType.STRING,
    "Findings": DataType.STRING,
    "CreationTime": DataType.DATETIME,
    "RecipeName": DataType.STRING,
    "RecipeVersion": DataType.UINT32,
    "RecipeHash": DataType.STRING,
    "EngineHash": DataType.STRING,
    "IsSimulated": DataType.BOOLEAN,
    "RowHash": DataType.STRING,
}


def _values(found: Result) -> dict[str, Value]:
    draft, intake = found.draft, found.draft.intake
    findings = [
        {"ask": each.ask, "label": each.label, "confidence": each.confidence, "defect": each.is_defect}
        for each in draft.findings
    ]
    return {
        "ResultId": found.result_id,
        "Sequence": found.sequence,
        "ResultEvaluation": draft.verdict.value,
        "Reasons": ",".join(dict.fromkeys(reason.code.value for reason in draft.reasons)),
        "PartId": intake.part_id,
        "Findings": json.dumps(findings, ensure_ascii=False, separators=(",", ":")),
        "CreationTime": milliseconds(draft.decided_at),
        "RecipeName": intake.recipe.name,
        "RecipeVersion": intake.recipe.version,
        "RecipeHash": intake.recipe.hash,
        "EngineHash": None if draft.engine is None else draft.engine.digest,
        "IsSimulated": intake.is_simulated,
        "RowHash": found.row_hash,
    }
