"""Messages become values; what is newer, broken or absurd never becomes a good one."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from lineside.dashboard.devices import translate, values
from lineside.v1 import devices_pb2, results_pb2, stations_pb2


@given(st.integers(-(2**31), 2**31 - 1))
def test_only_the_contracts_ok_is_ok(number: int) -> None:
    message = results_pb2.Inspection(evaluation=number)  # type: ignore[arg-type]
    verdict = translate.result(message).verdict
    assert (verdict is values.Verdict.OK) == (number == results_pb2.RESULT_EVALUATION_OK)


def test_an_unknown_reason_keeps_its_number() -> None:
    message = results_pb2.Inspection(reasons=[results_pb2.Reason(code=99, message="new")])  # type: ignore[arg-type]
    assert translate.result(message).reasons[0].code == "UNKNOWN_99"


@given(st.floats(), st.floats(), st.floats(), st.floats())
def test_a_box_lies_in_the_picture_or_is_none(x0: float, y0: float, x1: float, y1: float) -> None:
    box = results_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1)
    made = translate.result(results_pb2.Inspection(part_box=box)).part_box
    if made is not None:
        assert 0 <= made[0] < made[2] <= 1
        assert 0 <= made[1] < made[3] <= 1


def test_numbers_that_are_none_are_left_out() -> None:
    message = results_pb2.Inspection(
        processing_times_ms={"a": float("nan"), "b": 2.0},
        outcomes=[
            results_pb2.AskOutcome(
                ask="q", probabilities={"x": float("inf"), "y": 0.4}, confidence=float("nan")
            )
        ],
    )
    made = translate.result(message)
    assert made.timings_ms == {"b": 2.0}
    assert made.outcomes[0].probabilities == (("y", 0.4),)
    assert made.outcomes[0].confidence == 0.0


def test_times_beyond_a_calendar_are_none() -> None:
    message = results_pb2.Inspection()
    message.decide_time.seconds = 2**62
    assert translate.result(message).decided_at is None


def test_a_station_with_a_reason_against_it_is_not_ready() -> None:
    message = stations_pb2.Station(station="s", ready=True, not_ready_because=["camera cam1 is gone"])
    assert not translate.station(message).ready


def test_a_temperature_that_is_none_is_not_told() -> None:
    message = devices_pb2.Device()
    assert translate.device(message).temperature_c is None
    message.temperature_celsius = 0.0
    assert translate.device(message).temperature_c == 0.0
    message.temperature_celsius = float("nan")
    assert translate.device(message).temperature_c is None


def test_a_certificates_end_is_told_and_a_device_without_one_says_nothing_of_it() -> None:
    message = devices_pb2.Device(device="edge-07")
    assert translate.device(message).certificate_until is None
    message.certificate.not_after.FromDatetime(datetime(2026, 6, 1, tzinfo=UTC))
    assert translate.device(message).certificate_until == datetime(2026, 6, 1, tzinfo=UTC)
