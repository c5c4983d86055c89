"""The JSON record is the contract with the plant: complete, exact, and the same bytes every time."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import Samples

from lineside.daemon.store.canonical import parse_canonical, sha256_hex
from lineside.daemon.store.records import GENESIS, hash_of, json_of, parse_json, record_of, rfc3339, seal
from lineside.daemon.values import (
    AskOutcome,
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

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
number = st.floats(allow_nan=False, allow_infinity=False)
box = st.tuples(number, number, number, number)
moment = st.datetimes(
    datetime(1970, 1, 1),
    datetime(2200, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5.5))]),
)
mapping = st.dictionaries(text, number, max_size=3)
intakes = st.builds(
    Intake,
    result_id=text,
    station=text,
    camera=text,
    part_id=text,
    part_id_given=st.booleans(),
    trigger=st.sampled_from(TriggerKind),
    triggered_at=moment,
    boot_id=text,
    frame_index=st.none() | st.integers(0, 2**40),
    recipe=st.builds(RecipeRef, name=text, version=st.integers(0, 2**31), hash=text),
    expected=st.dictionaries(text, text, max_size=3),
    is_simulated=st.booleans(),
)
drafts = st.builds(
    ResultDraft,
    intake=intakes,
    verdict=st.sampled_from(Verdict),
    reasons=st.lists(st.builds(Reason, st.sampled_from(ReasonCode), text, st.none() | text), max_size=2).map(
        tuple
    ),
    findings=st.lists(
        st.builds(
            Finding,
            ask=text,
            label=text,
            confidence=number,
            is_defect=st.booleans(),
            box=st.none() | box,
            text=st.none() | text,
            count=st.none() | st.integers(0, 99),
        ),
        max_size=2,
    ).map(tuple),
    outcomes=st.lists(
        st.builds(
            AskOutcome,
            ask=text,
            kind=text,
            value=st.none() | text | st.integers(-99, 99),
            confidence=number,
            probabilities=mapping,
            runner_up=st.none() | st.tuples(text, number),
            familiarity=st.none() | number,
            box=box,
        ),
        max_size=2,
    ).map(tuple),
    engine=st.none() | st.builds(EngineRef, text, text, text, text),
    captured_at=st.none() | moment,
    decided_at=moment,
    clock_synchronised=st.booleans(),
    timings_ms=mapping,
    part_box=st.none() | box,
    frame_age_ms=st.none() | number,
)
evidence = st.lists(
    st.builds(
        EvidenceRef, text, text, st.none() | text, text, st.integers(0), st.integers(0), st.integers(0, 2**40)
    ),
    max_size=2,
)


@settings(deadline=None)
@given(drafts, evidence.filter(lambda refs: all(max(r.width, r.height) < 2**53 for r in refs)), st.booleans())
def test_a_result_comes_back_from_its_record_as_it_went_in(
    draft: ResultDraft, refs: list[EvidenceRef], lost: bool
) -> None:
    result, record = seal(
        draft, sequence=7, device="box", evidence=refs, evidence_lost=lost, prev_hash=GENESIS
    )
    assert result.draft == draft
    assert result.evidence == tuple(refs)
    assert parse_json(record) == result
    assert json_of(parse_json(record)) == record
    assert hash_of(parse_canonical(record)) == result.row_hash


def test_the_record_has_the_keys_that_plant_software_reads(samples: Samples) -> None:
    result = sealed(samples)
    assert record_of(result) == {
        "schema": "lineside.result/1",
        "result_id": result.result_id,
        "sequence": 1,
        "device": "box-1",
        "station": "press-1",
        "camera": "cam1",
        "part_id": "P00001",
        "part_id_given": True,
        "trigger": "grpc",
        "verdict": "NOT_OK",
        "reasons": [{"code": "FINDING", "message": "the cap is cracked", "ask": "cap"}],
        "findings": [
            {
                "ask": "cap",
                "label": "cracked",
                "confidence": 0.97,
                "is_defect": True,
                "box": [0.35, 0.1, 0.65, 0.45],
                "text": None,
                "count": None,
            }
        ],
        "outcomes": [
            {
                "ask": "cap",
                "kind": "choice",
                "value": "cracked",
                "confidence": 0.97,
                "probabilities": {"ok": 0.03, "cracked": 0.97},
                "runner_up": {"value": "ok", "probability": 0.03},
                "familiarity": 0.4,
                "box": [0.35, 0.1, 0.65, 0.45],
            }
        ],
        "recipe": {"name": "cap-check", "version": 3, "hash": "ab" * 32},
        "engine": {"name": "demo", "version": "1.0.0", "digest": "cd" * 32, "runtime": "onnxruntime"},
        "triggered_at": "2026-03-01T12:00:00.001000Z",
        "captured_at": "2026-03-01T12:00:00.002000Z",
        "decided_at": "2026-03-01T12:00:00.003000Z",
        "clock_synchronised": True,
        "boot_id": "boot-a",
        "frame_index": 1,
        "frame_age_ms": 12.5,
        "part_box": [0.2, 0.1, 0.8, 0.9],
        "expected": {"lot": "L123456A"},
        "is_simulated": False,
        "timings_ms": {"preprocess": 1.5, "vision": 8.25, "total": 31.0},
        "evidence": [],
        "evidence_lost": False,
        "prev_hash": "0" * 64,
        "row_hash": result.row_hash,
    }


def test_the_row_hash_can_be_checked_from_the_published_bytes_alone(samples: Samples) -> None:
    """As a consumer without our code would: drop the key, keep the order, hash what is left."""
    result = sealed(samples)
    published = json_of(result)
    without = published.replace(f',"row_hash":"{result.row_hash}"', "", 1)
    assert without != published
    assert sha256_hex(without) == result.row_hash


def test_any_change_of_the_record_changes_its_hash(samples: Samples) -> None:
    record = record_of(sealed(samples))
    for key in record.keys() - {"row_hash"}:
        assert hash_of({**record, key: "altered"}) != record["row_hash"], key


def test_a_number_that_is_not_finite_never_becomes_a_record(samples: Samples) -> None:
    draft = samples.draft(timings_ms={"total": math.nan})
    with pytest.raises(ValueError, match="nan is not a JSON number"):
        seal(draft, sequence=1, device="d", evidence=(), evidence_lost=False, prev_hash=GENESIS)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        rfc3339(datetime(2026, 3, 1))


@settings(deadline=None)
@given(moment, moment)
def test_times_sort_as_their_texts_do(one: datetime, other: datetime) -> None:
    assert (one < other) == (rfc3339(one) < rfc3339(other))


def test_a_record_of_another_schema_is_refused(samples: Samples) -> None:
    text = json_of(sealed(samples)).replace("lineside.result/1", "lineside.result/9")
    with pytest.raises(ValueError, match=r"not a lineside\.result/1 record"):
        parse_json(text)


def sealed(samples: Samples) -> Result:
    intake = replace(samples.intake())
    draft = samples.draft(intake, Verdict.NOT_OK)
    return seal(draft, sequence=1, device="box-1", evidence=(), evidence_lost=False, prev_hash=GENESIS)[0]
