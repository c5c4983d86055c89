"""Values of the daemon → messages of `lineside.v1`. Pure; one function a message.

An absent value stays absent on the wire: nothing is filled in.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from lineside.daemon.ports import CameraState, DeviceState, StationState
from lineside.daemon.rpc.names import child_name, device_name
from lineside.daemon.values import (
    AskOutcome,
    Box,
    EngineRef,
    EvidenceRef,
    Finding,
    Reason,
    ReasonCode,
    RecipeRef,
    Result,
    TriggerKind,
    Verdict,
)
from lineside.v1 import cameras_pb2, devices_pb2, recipes_pb2, results_pb2, stations_pb2


def timestamp(moment: datetime) -> Timestamp:
    """A moment with its zone, in microseconds."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def duration(seconds: float) -> Duration:
    """Seconds, in microseconds."""
    message = Duration()
    message.FromTimedelta(timedelta(seconds=seconds))
    return message


def evaluation(verdict: Verdict) -> results_pb2.ResultEvaluation.ValueType:
    """The verdict's number on the wire."""
    return results_pb2.ResultEvaluation.Value(f"RESULT_EVALUATION_{verdict.value}")


def trigger_kind(kind: TriggerKind) -> results_pb2.TriggerKind.ValueType:
    """The trigger's number on the wire."""
    return results_pb2.TriggerKind.Value(f"TRIGGER_KIND_{kind.value.upper()}")


def reason_code(code: ReasonCode) -> results_pb2.ReasonCode.ValueType:
    """The reason's number on the wire."""
    return results_pb2.ReasonCode.Value(f"REASON_CODE_{code.value}")


def box(corners: Box) -> results_pb2.Box:
    """A rectangle in fractions."""
    x0, y0, x1, y1 = corners
    return results_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1)


def reason(value: Reason) -> results_pb2.Reason:
    """One reason."""
    return results_pb2.Reason(code=reason_code(value.code), message=value.message, ask=value.ask)


def finding(value: Finding) -> results_pb2.Finding:
    """One defect or reading."""
    return results_pb2.Finding(
        ask=value.ask,
        label=value.label,
        confidence=value.confidence,
        is_defect=value.is_defect,
        box=box(value.box) if value.box is not None else None,
        text=value.text,
        count=value.count,
    )


def outcome(value: AskOutcome) -> results_pb2.AskOutcome:
    """The whole answer to one question."""
    message = results_pb2.AskOutcome(
        ask=value.ask,
        kind=value.kind,
        confidence=value.confidence,
        probabilities=dict(value.probabilities),
        familiarity=value.familiarity,
        box=box(value.box),
    )
    match value.value:
        case int(count):
            message.count_value = count
        case str(text):
            message.text_value = text
        case None:
            pass
    if value.runner_up is not None:
        message.runner_up.value, message.runner_up.probability = value.runner_up
    return message


def recipe_ref(value: RecipeRef) -> results_pb2.RecipeRef:
    """Which recipe version."""
    return results_pb2.RecipeRef(recipe=value.name, version=value.version, hash=value.hash)


def engine_ref(value: EngineRef) -> results_pb2.EngineRef:
    """Which engine."""
    return results_pb2.EngineRef(
        engine=value.name, version=value.version, digest=value.digest, runtime=value.runtime
    )


def evidence(value: EvidenceRef, device: str) -> results_pb2.Evidence:
    """A stored picture's description."""
    return results_pb2.Evidence(
        name=child_name(device, "evidence", value.evidence_id),
        evidence_id=value.evidence_id,
        role=value.role,
        ask=value.ask,
        media_type=value.media_type,
        width=value.width,
        height=value.height,
        size_bytes=value.size_bytes,
    )


def inspection(result: Result) -> results_pb2.Inspection:
    """A stored result, whole."""
    draft, intake = result.draft, result.draft.intake
    return results_pb2.Inspection(
        name=child_name(result.device, "inspections", result.result_id),
        result_id=result.result_id,
        sequence=result.sequence,
        device=result.device,
        station=intake.station,
        camera=intake.camera,
        part_id=intake.part_id,
        part_id_given=intake.part_id_given,
        evaluation=evaluation(draft.verdict),
        reasons=[reason(each) for each in draft.reasons],
        findings=[finding(each) for each in draft.findings],
        outcomes=[outcome(each) for each in draft.outcomes],
        trigger=trigger_kind(intake.trigger),
        is_simulated=intake.is_simulated,
        expected=dict(intake.expected),
        recipe=recipe_ref(intake.recipe),
        engine=engine_ref(draft.engine) if draft.engine is not None else None,
        trigger_time=timestamp(intake.triggered_at),
        capture_time=timestamp(draft.captured_at) if draft.captured_at is not None else None,
        decide_time=timestamp(draft.decided_at),
        clock_synchronised=draft.clock_synchronised,
        processing_times_ms=dict(draft.timings_ms),
        frame_age_ms=draft.frame_age_ms,
        frame_index=intake.frame_index,
        part_box=box(draft.part_box) if draft.part_box is not None else None,
        evidence=[evidence(each, result.device) for each in result.evidence],
        boot_id=intake.boot_id,
        prev_hash=result.prev_hash,
        row_hash=result.row_hash,
        evidence_lost=result.evidence_lost,
    )


def camera(state: CameraState, device: str) -> cameras_pb2.Camera:
    """A camera as seen now."""
    age = state.last_frame_age_s
    return cameras_pb2.Camera(
        name=child_name(device, "cameras", state.camera),
        camera=state.camera,
        kind=state.kind,
        source=state.source,
        connected=state.connected,
        frames=state.frames,
        dropped=state.dropped,
        reconnects=state.reconnects,
        last_frame_age=duration(age) if age is not None else None,
        width=state.width,
        height=state.height,
        detail=state.detail,
        finished=state.finished,
    )


def station(state: StationState, device: str) -> stations_pb2.Station:
    """A station as seen now."""
    return stations_pb2.Station(
        name=child_name(device, "stations", state.station),
        station=state.station,
        cameras=state.cameras,
        recipe=recipe_ref(state.recipe),
        ready=state.ready,
        not_ready_because=state.not_ready_because,
        triggered=state.triggered,
        judged=state.judged,
        ok=state.ok,
        not_ok=state.not_ok,
        not_decidable=state.not_decidable,
        pending=state.pending,
        etag=station_etag(state.recipe),
        previous_recipe=recipe_ref(state.previous) if state.previous is not None else None,
        job=child_name(device, "jobs", state.job) if state.job else "",
    )


def station_etag(ref: RecipeRef) -> str:
    """Changes whenever the recipe a station judges by does (RFC 9110: in quotes)."""
    return f'"{ref.name}@{ref.version}-{ref.hash[:16]}"'


def engine_state(name: str) -> devices_pb2.EngineState.ValueType:
    """The engine's state; a word that the contract does not have is UNSPECIFIED, that is: not ready."""
    numbers = dict(devices_pb2.EngineState.items())
    return numbers.get(f"ENGINE_STATE_{name}", devices_pb2.ENGINE_STATE_UNSPECIFIED)


def device(state: DeviceState, now: datetime) -> devices_pb2.Device:
    """The device as seen now."""
    oldest = state.outbox_oldest_age_s
    return devices_pb2.Device(
        name=device_name(state.device),
        device=state.device,
        site=state.site,
        area=state.area,
        line=state.line,
        software_version=state.software_version,
        start_time=timestamp(state.started_at),
        time=timestamp(now),
        clock_synchronised=state.clock_synchronised,
        engine=engine_ref(state.engine) if state.engine is not None else None,
        engine_state=engine_state(state.engine_state),
        last_sequence=state.last_sequence,
        outbox=[
            devices_pb2.OutboxDepth(consumer=consumer, depth=depth)
            for consumer, depth in sorted(state.outbox_depth.items())
        ],
        outbox_oldest_age=duration(oldest) if oldest is not None else None,
        evidence_bytes=state.evidence_bytes,
        disk_free_bytes=state.disk_free_bytes,
        temperature_celsius=state.temperature_c,
    )


def recipe(ref: RecipeRef, text: str, stations: tuple[str, ...], device: str) -> recipes_pb2.Recipe:
    """An installed recipe version; `text` is empty in lists, `stations` judge by it now."""
    return recipes_pb2.Recipe(
        name=child_name(device, "recipes", f"{ref.name}@{ref.version}"),
        recipe=recipe_ref(ref),
        text=text,
        stations=stations,
    )
