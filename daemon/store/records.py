"""A result as its canonical JSON record, and back: the contract that MQTT publishes and gRPC mirrors.

`docs/store.md` describes every key. The record is complete: a `Result` read back from it equals the
one that was committed. It knows nothing of tables or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lineside.daemon.store.canonical import canonical_json, parse_canonical, sha256_hex
from lineside.daemon.values import (
    AskOutcome,
    Box,
    EngineRef,
    EvidenceRef,
    Finding,
    Intake,
    Reason,
    ReasonCode,
    RecipeRef,
    Result,
    ResultDraft,
    TriggerKind,
    Verdict,
)

SCHEMA = "lineside.result/1"
GENESIS = "0" * 64
"""`prev_hash` of the first row of a chain."""

Record = dict[str, Any]
"""A parsed JSON object: strings, numbers, booleans, None, lists and dicts of these."""


def rfc3339(moment: datetime) -> str:
    """UTC with microseconds and a Z: texts of this form sort by time.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone cannot be stored: {moment!r}")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_rfc3339(text: str) -> datetime:
    """The inverse of `rfc3339`."""
    return datetime.fromisoformat(text)


def seal(
    draft: ResultDraft,
    *,
    sequence: int,
    device: str,
    evidence: Sequence[EvidenceRef],
    evidence_lost: bool,
    prev_hash: str,
) -> tuple[Result, str]:
    """The result with its place in the chain, and its canonical JSON: `row_hash` is computed here.

    Raises:
        ValueError: the draft holds what JSON cannot carry (NaN, a time without zone, half a surrogate pair).
    """
    open_row = Result(
        sequence=sequence,
        device=device,
        draft=draft,
        evidence=tuple(evidence),
        prev_hash=prev_hash,
        row_hash="",
        evidence_lost=evidence_lost,
    )
    record = record_of(open_row)
    record["row_hash"] = hash_of(record)
    return parse_record(record), canonical_json(record)


def check_draft(draft: ResultDraft) -> None:
    """Refuses, before anything is queued, what could not be stored.

    Raises:
        ValueError: as `seal`.
    """
    canonical_json(
        record_of(Result(sequence=0, device="", draft=draft, evidence=(), prev_hash="", row_hash=""))
    )


def check_intake(intake: Intake) -> None:
    """As `check_draft`, for an intake."""
    canonical_json(intake_record(intake))


def hash_of(record: Mapping[str, object]) -> str:
    """The row hash: SHA-256 over the canonical JSON of the record without its own `row_hash`."""
    return sha256_hex(canonical_json({key: value for key, value in record.items() if key != "row_hash"}))


def json_of(result: Result) -> str:
    """The record as canonical JSON: byte for byte what is stored and published."""
    return canonical_json(record_of(result))


def record_of(result: Result) -> Record:
    """The record of a result as JSON values."""
    draft = result.draft
    return {
        "schema": SCHEMA,
        "sequence": result.sequence,
        "device": result.device,
        **intake_record(draft.intake),
        "verdict": str(draft.verdict),
        "reasons": [{"code": str(r.code), "message": r.message, "ask": r.ask} for r in draft.reasons],
        "findings": [_finding_record(finding) for finding in draft.findings],
        "outcomes": [_outcome_record(outcome) for outcome in draft.outcomes],
        "engine": None if draft.engine is None else _engine_record(draft.engine),
        "captured_at": None if draft.captured_at is None else rfc3339(draft.captured_at),
        "decided_at": rfc3339(draft.decided_at),
        "clock_synchronised": bool(draft.clock_synchronised),
        "frame_age_ms": _real(draft.frame_age_ms),
        "part_box": _box(draft.part_box),
        "timings_ms": {str(name): float(value) for name, value in draft.timings_ms.items()},
        "evidence": [_evidence_record(ref) for ref in result.evidence],
        "evidence_lost": result.evidence_lost,
        "prev_hash": result.prev_hash,
        "row_hash": result.row_hash,
    }


def intake_record(intake: Intake) -> Record:
    """The part of the record that is known when the trigger is accepted."""
    return {
        "result_id": intake.result_id,
        "station": intake.station,
        "camera": intake.camera,
        "part_id": intake.part_id,
        "part_id_given": bool(intake.part_id_given),
        "trigger": str(intake.trigger),
        "triggered_at": rfc3339(intake.triggered_at),
        "boot_id": intake.boot_id,
        "frame_index": None if intake.frame_index is None else int(intake.frame_index),
        "recipe": {
            "name": intake.recipe.name,
            "version": int(intake.recipe.version),
            "hash": intake.recipe.hash,
        },
        "expected": dict(intake.expected),
        "is_simulated": bool(intake.is_simulated),
    }


def parse_json(text: str) -> Result:
    """The result of a stored record."""
    return parse_record(parse_canonical(text))


def parse_record(record: Record) -> Result:
    """The result that `record_of` described.

    Raises:
        KeyError, ValueError: not a record of this schema.
    """
    if record["schema"] != SCHEMA:
        raise ValueError(f"not a {SCHEMA} record: {record['schema']!r}")
    return Result(
        sequence=record["sequence"],
        device=record["device"],
        draft=_parse_draft(record),
        evidence=tuple(EvidenceRef(**ref) for ref in record["evidence"]),
        prev_hash=record["prev_hash"],
        row_hash=record["row_hash"],
        evidence_lost=record["evidence_lost"],
    )


def parse_intake(record: Record) -> Intake:
    """The intake that `intake_record` described."""
    return Intake(
        result_id=record["result_id"],
        station=record["station"],
        camera=record["camera"],
        part_id=record["part_id"],
        part_id_given=record["part_id_given"],
        trigger=TriggerKind(record["trigger"]),
        triggered_at=from_rfc3339(record["triggered_at"]),
        boot_id=record["boot_id"],
        frame_index=record["frame_index"],
        recipe=RecipeRef(**record["recipe"]),
        expected=record["expected"],
        is_simulated=record["is_simulated"],
    )


def _parse_draft(record: Record) -> ResultDraft:
    captured_at = record["captured_at"]
    return ResultDraft(
        intake=parse_intake(record),
        verdict=Verdict(record["verdict"]),
        reasons=tuple(Reason(ReasonCode(r["code"]), r["message"], r["ask"]) for r in record["reasons"]),
        findings=tuple(_parse_finding(finding) for finding in record["findings"]),
        outcomes=tuple(_parse_outcome(outcome) for outcome in record["outcomes"]),
        engine=None if record["engine"] is None else EngineRef(**record["engine"]),
        captured_at=None if captured_at is None else from_rfc3339(captured_at),
        decided_at=from_rfc3339(record["decided_at"]),
        clock_synchronised=record["clock_synchronised"],
        timings_ms={name: float(value) for name, value in record["timings_ms"].items()},
        part_box=_parse_box(record["part_box"]),
        frame_age_ms=_real(record["frame_age_ms"]),
    )


def _finding_record(finding: Finding) -> Record:
    return {
        "ask": finding.ask,
        "label": finding.label,
        "confidence": float(finding.confidence),
        "is_defect": bool(finding.is_defect),
        "box": _box(finding.box),
        "text": finding.text,
        "count": None if finding.count is None else int(finding.count),
    }


def _parse_finding(record: Record) -> Finding:
    return Finding(**{**record, "confidence": float(record["confidence"]), "box": _parse_box(record["box"])})


def _outcome_record(outcome: AskOutcome) -> Record:
    value = outcome.value
    runner_up = outcome.runner_up
    return {
        "ask": outcome.ask,
        "kind": outcome.kind,
        "value": value if value is None or isinstance(value, str) else int(value),
        "confidence": float(outcome.confidence),
        "probabilities": {str(name): float(p) for name, p in outcome.probabilities.items()},
        "runner_up": (
            None if runner_up is None else {"value": runner_up[0], "probability": float(runner_up[1])}
        ),
        "familiarity": _real(outcome.familiarity),
        "box": _box(outcome.box),
    }


def _parse_outcome(record: Record) -> AskOutcome:
    runner_up = record["runner_up"]
    box = _parse_box(record["box"])
    if box is None:
        raise ValueError("an outcome without a box")
    return AskOutcome(
        ask=record["ask"],
        kind=record["kind"],
        value=record["value"],
        confidence=float(record["confidence"]),
        probabilities={name: float(p) for name, p in record["probabilities"].items()},
        runner_up=None if runner_up is None else (runner_up["value"], float(runner_up["probability"])),
        familiarity=_real(record["familiarity"]),
        box=box,
    )


def _engine_record(engine: EngineRef) -> Record:
    return {
        "name": engine.name,
        "version": engine.version,
        "digest": engine.digest,
        "runtime": engine.runtime,
    }


def _evidence_record(ref: EvidenceRef) -> Record:
    return {
        "evidence_id": ref.evidence_id,
        "role": ref.role,
        "ask": ref.ask,
        "media_type": ref.media_type,
        "width": int(ref.width),
        "height": int(ref.height),
        "size_bytes": int(ref.size_bytes),
    }


def _real(value: float | None) -> float | None:
    return None if value is None else float(value)


def _box(box: Box | None) -> list[float] | None:
    return None if box is None else [float(edge) for edge in box]


def _parse_box(edges: Sequence[float] | None) -> Box | None:
    if edges is None:
        return None
    x0, y0, x1, y1 = edges
    return (float(x0), float(y0), float(x1), float(y1))
