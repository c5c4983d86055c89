"""From a device's record to the rows that are kept: a pure translation. Knows no database.

A device may send anything: too long words are cut, characters a database refuses are replaced, and a time
that cannot be is replaced by the time of arrival.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lineside.dashboard.devices import translate
from lineside.dashboard.devices.values import Engine, Recipe, Result, Verdict
from lineside.dashboard.ingest.shifts import ShiftPlan
from lineside.v1 import results_pb2

LETTERS = {Verdict.OK: "o", Verdict.NOT_OK: "n", Verdict.NOT_DECIDABLE: "r", Verdict.UNKNOWN: "u"}
"""A verdict in a station's strip."""
EARLIEST_YEAR = 2000


@dataclass(frozen=True, slots=True)
class Judged:
    """One result as rows. `columns` are those of `results` that need no other row's id."""

    station: str
    recipe: Recipe
    engine: Engine
    columns: dict[str, Any]
    findings: tuple[dict[str, Any], ...]
    defects: tuple[str, ...]
    record: bytes
    letter: str
    bad: dict[str, Any] | None


def clip(words: str, most: int) -> str:
    """At most `most` characters, without those that PostgreSQL cannot keep."""
    return words.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:most]


def judged(
    message: results_pb2.Inspection, received_at: datetime, shifts: ShiftPlan, sample: float
) -> Judged:
    """The rows of one record. `sample`: share of OK parts, 0 to 1, that a person is to look at."""
    result = translate.result(message)
    decided_at = _believable(result.decided_at, received_at)
    defects = sorted((f for f in result.findings if f.is_defect), key=lambda f: -f.confidence)
    because = _review_because(result, sample)
    lot = result.expected.get("lot")
    return Judged(
        station=clip(result.station, 200),
        recipe=Recipe(clip(result.recipe.name, 200), result.recipe.version, clip(result.recipe.hash, 64)),
        engine=Engine(
            clip(result.engine.name, 200),
            clip(result.engine.version, 64),
            clip(result.engine.digest, 64),
            clip(result.engine.runtime, 64),
        ),
        columns={
            "result_id": clip(result.result_id, 64),
            "sequence": result.sequence,
            "part_id": clip(result.part_id, 200),
            "lot": clip(lot, 200) if lot else None,
            "verdict": result.verdict.value,
            "defect": clip(defects[0].label, 200) if defects else None,
            "confidence": min((o.confidence for o in result.outcomes), default=None),
            "shift": shifts.shift_of(decided_at),
            "decided_at": decided_at,
            "received_at": received_at,
            "total_ms": result.total_ms,
            "is_simulated": result.is_simulated,
            "clock_synchronised": result.clock_synchronised,
            "review": "waiting" if because else "none",
            "review_because": because,
        },
        findings=tuple(
            {
                "ask": clip(f.ask, 200),
                "label": clip(f.label, 200),
                "is_defect": f.is_defect,
                "confidence": f.confidence,
                "text": clip(f.text, 2000) if f.text is not None else None,
                "count": f.count,
            }
            for f in result.findings
        ),
        defects=tuple(dict.fromkeys(clip(f.label, 200) for f in defects)),
        record=zlib.compress(message.SerializeToString(), 1),
        letter=LETTERS[result.verdict],
        bad=_bad(result, decided_at),
    )


def _review_because(result: Result, sample: float) -> str:
    if result.verdict is not Verdict.OK:
        return "verdict"
    # By the id alone, so that the sample is the same on every machine and nobody can steer it.
    drawn = int.from_bytes(hashlib.sha256(result.result_id.encode()).digest()[:8], "big") / 2**64
    return "sample" if drawn < sample else ""


def _bad(result: Result, decided_at: datetime) -> dict[str, Any] | None:
    if result.verdict is Verdict.OK:
        return None
    crop = result.crop
    labels = [f.label for f in result.findings if f.is_defect]
    reason = result.reasons[0].code if result.reasons else ""
    return {
        "result_id": clip(result.result_id, 64),
        "verdict": result.verdict.value,
        "part_id": clip(result.part_id, 200),
        "label": clip(labels[0], 200) if labels else "",
        "reason": clip(reason, 64),
        "evidence_id": clip(crop.evidence_id, 64) if crop else "",
        "wide": bool(crop and crop.width > 2 * crop.height),
        "at": decided_at.isoformat(),
    }


def _believable(decided_at: datetime | None, received_at: datetime) -> datetime:
    if decided_at is None or not EARLIEST_YEAR <= decided_at.year <= received_at.year + 1:
        return received_at
    return decided_at
