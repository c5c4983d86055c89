"""From the messages of `lineside.v1` to the dashboard's own values: the one place that reads proto fields.

A value that is newer than this software never becomes a good one: an unknown evaluation is UNKNOWN,
an unknown engine state is not ready. Numbers that are not finite become None or are left out.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from lineside.dashboard.devices import values
from lineside.v1 import cameras_pb2, devices_pb2, results_pb2, stations_pb2

VERDICTS = {
    results_pb2.RESULT_EVALUATION_OK: values.Verdict.OK,
    results_pb2.RESULT_EVALUATION_NOT_OK: values.Verdict.NOT_OK,
    results_pb2.RESULT_EVALUATION_NOT_DECIDABLE: values.Verdict.NOT_DECIDABLE,
}
NO_ENGINE = values.Engine("", "", "", "")


def result(message: results_pb2.Inspection) -> values.Result:
    """A stored inspection."""
    timings = {k: v for k, v in sorted(message.processing_times_ms.items()) if math.isfinite(v)}
    triggered, decided = _time(message, "trigger_time"), _time(message, "decide_time")
    total = timings.get("trigger_to_verdict")
    if total is None and triggered and decided:
        total = (decided - triggered).total_seconds() * 1000
    return values.Result(
        sequence=message.sequence,
        result_id=message.result_id,
        device=message.device,
        station=message.station,
        camera=message.camera,
        part_id=message.part_id,
        part_id_given=message.part_id_given,
        verdict=VERDICTS.get(message.evaluation, values.Verdict.UNKNOWN),
        reasons=tuple(values.Reason(_reason_code(r.code), r.message, r.ask) for r in message.reasons),
        findings=tuple(_finding(f) for f in message.findings),
        outcomes=tuple(_outcome(o) for o in message.outcomes),
        evidence=tuple(
            values.Evidence(e.evidence_id, e.role, e.ask, e.media_type, e.width, e.height, e.size_bytes)
            for e in message.evidence
        ),
        recipe=recipe(message.recipe),
        engine=engine(message.engine) if message.HasField("engine") else NO_ENGINE,
        trigger=_enum_word(results_pb2.TriggerKind.Name, message.trigger, "TRIGGER_KIND_").lower(),
        triggered_at=triggered,
        captured_at=_time(message, "capture_time"),
        decided_at=decided,
        clock_synchronised=message.clock_synchronised,
        is_simulated=message.is_simulated,
        timings_ms=timings,
        total_ms=total,
        frame_age_ms=_number(message.frame_age_ms) if message.HasField("frame_age_ms") else None,
        part_box=_box(message.part_box) if message.HasField("part_box") else None,
        expected=dict(sorted(message.expected.items())),
        prev_hash=message.prev_hash,
        row_hash=message.row_hash,
    )


def recipe(message: results_pb2.RecipeRef) -> values.Recipe:
    """Which recipe version."""
    return values.Recipe(message.recipe, message.version, message.hash)


def engine(message: results_pb2.EngineRef) -> values.Engine:
    """Which engine."""
    return values.Engine(message.engine, message.version, message.digest, message.runtime)


def station(message: stations_pb2.Station) -> values.Station:
    """A station as seen now. Reasons against readiness win over a `ready` that contradicts them."""
    because = tuple(message.not_ready_because)
    return values.Station(
        station=message.station,
        cameras=tuple(message.cameras),
        recipe=recipe(message.recipe) if message.HasField("recipe") else None,
        ready=message.ready and not because,
        not_ready_because=because,
        pending=message.pending,
    )


def camera(message: cameras_pb2.Camera) -> values.Camera:
    """A camera as seen now."""
    age = _seconds(message.last_frame_age) if message.HasField("last_frame_age") else None
    return values.Camera(
        message.camera, message.connected, age, message.width, message.height, message.detail
    )


def device(message: devices_pb2.Device) -> values.Device:
    """A device as seen now."""
    return values.Device(
        device=message.device,
        site=message.site,
        area=message.area,
        line=message.line,
        software_version=message.software_version,
        engine=engine(message.engine) if message.HasField("engine") else NO_ENGINE,
        engine_state=_enum_word(devices_pb2.EngineState.Name, message.engine_state, "ENGINE_STATE_"),
        clock_synchronised=message.clock_synchronised,
        last_sequence=message.last_sequence,
        time=_time(message, "time"),
        outbox_depth={entry.consumer: entry.depth for entry in message.outbox},
        outbox_oldest_s=_seconds(message.outbox_oldest_age)
        if message.HasField("outbox_oldest_age")
        else None,
        evidence_bytes=message.evidence_bytes,
        disk_free_bytes=message.disk_free_bytes or None,
        certificate_until=(
            _time(message.certificate, "not_after") if message.HasField("certificate") else None
        ),
        temperature_c=_temperature(message),
    )


def _temperature(message: devices_pb2.Device) -> float | None:
    told = message.temperature_celsius
    return told if message.HasField("temperature_celsius") and math.isfinite(told) else None


def frame_age_s(message: cameras_pb2.GetFrameResponse) -> float | None:
    """How old a frame was when the device sent it."""
    return _seconds(message.age) if message.HasField("age") else None


def _finding(message: results_pb2.Finding) -> values.Finding:
    return values.Finding(
        ask=message.ask,
        label=message.label,
        confidence=_number(message.confidence) or 0.0,
        is_defect=message.is_defect,
        box=_box(message.box) if message.HasField("box") else None,
        text=message.text if message.HasField("text") else None,
        count=message.count if message.HasField("count") else None,
    )


def _outcome(message: results_pb2.AskOutcome) -> values.Outcome:
    which = message.WhichOneof("value")
    value = {"text_value": message.text_value, "count_value": str(message.count_value)}.get(which or "", "")
    finite = [(k, v) for k, v in message.probabilities.items() if math.isfinite(v)]
    return values.Outcome(
        ask=message.ask,
        kind=message.kind,
        value=value,
        confidence=_number(message.confidence) or 0.0,
        probabilities=tuple(sorted(finite, key=lambda item: (-item[1], item[0]))),
        runner_up=(message.runner_up.value, message.runner_up.probability)
        if message.HasField("runner_up")
        else None,
        familiarity=_number(message.familiarity) if message.HasField("familiarity") else None,
        box=_box(message.box) if message.HasField("box") else None,
    )


def _box(message: results_pb2.Box) -> values.Box | None:
    """The box clamped to the picture, or None where it is empty or not a number."""
    edges = (message.x0, message.y0, message.x1, message.y1)
    if not all(math.isfinite(edge) for edge in edges):
        return None
    x0, y0, x1, y1 = (min(1.0, max(0.0, edge)) for edge in edges)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _reason_code(code: int) -> str:
    return _enum_word(results_pb2.ReasonCode.Name, code, "REASON_CODE_")


def _enum_word(name_of: object, number: int, prefix: str) -> str:
    """The enum's word without its prefix; its number where this software is older than the device."""
    try:
        return str(name_of(number)).removeprefix(prefix)  # type: ignore[operator]
    except ValueError:
        return f"UNKNOWN_{number}"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _time(message: Message, field: str) -> datetime | None:
    """A timestamp field, or None where it is absent or outside what a calendar can hold."""
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    try:
        return datetime.fromtimestamp(stamp.seconds, UTC).replace(microsecond=max(0, stamp.nanos // 1000))
    except (OverflowError, ValueError, OSError):
        return None
