"""Nothing is lost or invented on the way to the wire."""

from __future__ import annotations

from datetime import UTC

import pytest

from lineside.daemon.rpc import convert
from lineside.daemon.values import EvidenceRef, ReasonCode, TriggerKind, Verdict
from lineside.v1 import devices_pb2, results_pb2


@pytest.mark.parametrize(
    ("kind", "function", "enum"),
    [
        (Verdict, convert.evaluation, results_pb2.ResultEvaluation),
        (TriggerKind, convert.trigger_kind, results_pb2.TriggerKind),
        (ReasonCode, convert.reason_code, results_pb2.ReasonCode),
    ],
)
def test_every_word_of_the_daemon_has_its_own_number_in_the_contract(kind, function, enum):
    numbers = {function(member) for member in kind}
    assert numbers == set(enum.values()) - {0}
    assert len(numbers) == len(kind)


def test_the_numbers_plants_switch_on_stay_as_they_are():
    assert [convert.evaluation(each) for each in (Verdict.OK, Verdict.NOT_OK, Verdict.NOT_DECIDABLE)] == [
        1,
        2,
        3,
    ]


def test_an_unknown_engine_state_reads_as_not_ready():
    assert convert.engine_state("READY") == devices_pb2.ENGINE_STATE_READY
    assert convert.engine_state("UNHEARD_OF") == devices_pb2.ENGINE_STATE_UNSPECIFIED


def test_every_field_of_an_inspection_is_filled_from_a_full_result(make):
    ref = EvidenceRef("ab" * 32, "crop", "cap", "image/jpeg", 4, 3, 99)
    result = make(7, verdict=Verdict.NOT_OK, evidence=(ref,), is_simulated=True)
    message = convert.inspection(result)
    # part_box and evidence_lost are absent and false in the example; all else must have been set.
    empty = {
        field.name
        for field in message.DESCRIPTOR.fields
        if field.name not in {each.name for each, _ in message.ListFields()}
    }
    assert empty == {"part_box", "evidence_lost"}
    assert message.trigger_time.ToDatetime(UTC) == result.draft.intake.triggered_at
    assert message.evidence[0].name == f"devices/box7/evidence/{'ab' * 32}"
    choice, count = message.outcomes
    assert (choice.text_value, choice.runner_up.value, choice.familiarity) == ("cracked", "ok", 0.5)
    assert (count.count_value, count.HasField("runner_up"), count.HasField("familiarity")) == (
        3,
        False,
        False,
    )
    assert not message.findings[0].HasField("count")
