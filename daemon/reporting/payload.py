"""What is said over MQTT, as bytes: pure functions from values to JSON. `docs/schemas/` describes each.

A verdict is the stored record, byte for byte; nothing is added to it and nothing left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from lineside.daemon.ports import CameraState, DeviceState, StationState
from lineside.daemon.reporting.mqtt import Message
from lineside.daemon.reporting.topics import Topics
from lineside.daemon.store.records import SCHEMA, json_of, rfc3339
from lineside.daemon.values import EngineRef, RecipeRef, Result

STATUS = "lineside.status/1"
STATION = "lineside.station/1"
METRICS = "lineside.metrics/1"
ALERT = "lineside.alert/1"
ONLINE, OFFLINE, LOST = "online", "offline", "lost"
METRICS_EXPIRE_S = 60


def encode(value: Mapping[str, object]) -> bytes:
    """JSON in UTF-8. Raises ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def verdict(topics: Topics, result: Result) -> Message:
    """A stored result. Equal results are equal messages, so that a double is known by its bytes."""
    return Message(
        topic=topics.verdict(result.draft.intake.station),
        payload=json_of(result).encode(),
        user={
            "schema": SCHEMA,
            "result_id": result.result_id,
            "sequence": str(result.sequence),
            "row_hash": result.row_hash,
        },
    )


def status(
    topics: Topics, state: DeviceState, condition: str, at: datetime, rpc_address: str | None
) -> Message:
    """The device's word on itself. `condition`: online or offline."""
    return _retained(
        topics.status,
        STATUS,
        {
            "device": state.device,
            "state": condition,
            "at": rfc3339(at),
            "software_version": state.software_version,
            "started_at": rfc3339(state.started_at),
            "clock_synchronised": state.clock_synchronised,
            "engine": _engine(state.engine),
            "engine_state": state.engine_state,
            "last_sequence": state.last_sequence,
            "rpc_address": rpc_address,
        },
    )


def will(topics: Topics, connected_at: datetime) -> Message:
    """What the broker says when the device is gone without a word. Made at connecting, it knows no more."""
    return _retained(
        topics.status,
        STATUS,
        {"device": topics.device, "state": LOST, "connected_at": rfc3339(connected_at)},
    )


def station(topics: Topics, device: str, state: StationState) -> Message:
    """A station as it is now. Without a time: equal states are equal messages."""
    return _retained(
        topics.state(state.station),
        STATION,
        {
            "device": device,
            "station": state.station,
            "cameras": list(state.cameras),
            "recipe": _recipe(state.recipe),
            "ready": state.ready,
            "not_ready_because": list(state.not_ready_because),
            "counters": {
                "triggered": state.triggered,
                "judged": state.judged,
                "OK": state.ok,
                "NOT_OK": state.not_ok,
                "NOT_DECIDABLE": state.not_decidable,
                "pending": state.pending,
            },
        },
    )


def metrics(
    topics: Topics,
    state: DeviceState,
    cameras: Sequence[CameraState],
    at: datetime,
    counters: Mapping[str, int],
) -> Message:
    """Counters and ages. Soon expired: an old number is worth nothing."""
    body = {
        "schema": METRICS,
        "device": state.device,
        "at": rfc3339(at),
        "last_sequence": state.last_sequence,
        "outbox_depth": dict(state.outbox_depth),
        "outbox_oldest_age_s": state.outbox_oldest_age_s,
        "evidence_bytes": state.evidence_bytes,
        "disk_free_bytes": state.disk_free_bytes,
        "mqtt": dict(counters),
        "cameras": [
            {
                "camera": camera.camera,
                "connected": camera.connected,
                "frames": camera.frames,
                "dropped": camera.dropped,
                "reconnects": camera.reconnects,
                "last_frame_age_s": camera.last_frame_age_s,
            }
            for camera in cameras
        ],
    }
    return Message(topics.metrics, encode(body), user={"schema": METRICS}, expiry_s=METRICS_EXPIRE_S)


def alert(topics: Topics, code: str, message: str, at: datetime, result_id: str | None) -> Message:
    """One thing that a person should hear of."""
    body = {
        "schema": ALERT,
        "device": topics.device,
        "code": code,
        "message": message,
        "at": rfc3339(at),
        "result_id": result_id,
    }
    return Message(topics.alert, encode(body), user={"schema": ALERT})


def _retained(topic: str, schema: str, body: Mapping[str, object]) -> Message:
    return Message(topic, encode({"schema": schema, **body}), retain=True, user={"schema": schema})


def _engine(engine: EngineRef | None) -> dict[str, str] | None:
    if engine is None:
        return None
    return {
        "name": engine.name,
        "version": engine.version,
        "digest": engine.digest,
        "runtime": engine.runtime,
    }


def _recipe(recipe: RecipeRef) -> dict[str, str | int]:
    return {"name": recipe.name, "version": recipe.version, "hash": recipe.hash}
