"""What the demonstration says at its end: verdicts against the truth. Pure: values in, values out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lineside.daemon.demo.truth import PartOnLine, part_at


@dataclass(frozen=True, slots=True)
class Heard:
    """One verdict as a consumer outside the daemon received it (the canonical JSON record)."""

    result_id: str
    sequence: int
    verdict: str
    frame_index: int | None
    camera_to_verdict_ms: float | None
    triggered_at: datetime
    decided_at: datetime

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Heard:
        """From the record that MQTT carries."""
        timings = record.get("timings_ms")
        total = timings.get("camera_to_verdict") if isinstance(timings, Mapping) else None
        frame = record.get("frame_index")
        return cls(
            result_id=str(record["result_id"]),
            sequence=int(str(record["sequence"])),
            verdict=str(record["verdict"]),
            frame_index=int(str(frame)) if frame is not None else None,
            camera_to_verdict_ms=float(str(total)) if total is not None else None,
            triggered_at=datetime.fromisoformat(str(record["triggered_at"])),
            decided_at=datetime.fromisoformat(str(record["decided_at"])),
        )


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the values lie (nearest rank); None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def summarise(
    heard: Sequence[Heard],
    *,
    parts: Sequence[PartOnLine] | None,
    reach: int,
    mqtt_received: int,
    grpc_received: int,
    stored: int,
) -> dict[str, object]:
    """The summary object. Without a truth (`parts` is None) what needs one is null.

    escapes: bad parts judged OK; overkill: good parts judged NOT_OK; missed: parts drawn without a
    verdict; doubled: further verdicts on a part that had one; strays: verdicts on no part.
    """
    unique = {one.result_id: one for one in heard}
    verdicts = Counter(one.verdict for one in unique.values())
    latencies = [one.camera_to_verdict_ms for one in unique.values() if one.camera_to_verdict_ms is not None]
    p50, p99 = percentile(latencies, 0.50), percentile(latencies, 0.99)
    summary: dict[str, object] = {
        "parts_drawn": len(parts) if parts is not None else None,
        "parts_judged": len(unique),
        "ok": verdicts["OK"],
        "not_ok": verdicts["NOT_OK"],
        "not_decidable": verdicts["NOT_DECIDABLE"],
        "escapes": None,
        "overkill": None,
        "missed": None,
        "doubled": None,
        "strays": None,
        "mqtt_received": mqtt_received,
        "grpc_received": grpc_received,
        "stored": stored,
        "parts_per_second": _rate(list(unique.values())),
        "camera_to_verdict_ms": {
            "p50": round(p50, 1) if p50 is not None else None,
            "p99": round(p99, 1) if p99 is not None else None,
        },
    }
    if parts is not None:
        summary.update(_against_truth(list(unique.values()), list(parts), reach))
    return summary


def _rate(heard: list[Heard]) -> float | None:
    """Parts a second from the first trigger to the last verdict, by the device's clock; None for one part."""
    if len(heard) < 2:
        return None
    seconds = (max(one.decided_at for one in heard) - min(one.triggered_at for one in heard)).total_seconds()
    return round(len(heard) / seconds, 2) if seconds > 0 else None


def _against_truth(heard: list[Heard], parts: list[PartOnLine], reach: int) -> dict[str, object]:
    seen: Counter[int] = Counter()
    escapes = overkill = strays = 0
    for one in sorted(heard, key=lambda one: one.sequence):
        part = part_at(parts, one.frame_index, reach=reach) if one.frame_index is not None else None
        if part is None:
            strays += 1
            continue
        seen[part.index] += 1
        if one.verdict == "OK" and not part.is_good:
            escapes += 1
        if one.verdict == "NOT_OK" and part.is_good:
            overkill += 1
    return {
        "escapes": escapes,
        "overkill": overkill,
        "missed": sum(1 for part in parts if part.index not in seen),
        "doubled": sum(count - 1 for count in seen.values()),
        "strays": strays,
        "bad_parts": sum(1 for part in parts if not part.is_good),
    }
