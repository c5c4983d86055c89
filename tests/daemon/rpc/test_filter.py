"""The filter language: what is written is what is meant, and nothing else is accepted."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.rpc.filter import FIELDS, BadFilter, Comparison, Operator, matches, parse
from lineside.daemon.values import TriggerKind, Verdict

TEXT_FIELDS = ("result_id", "station", "camera", "part_id", "recipe", "recipe_hash", "engine_digest")
texts = st.text(max_size=30)
moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))
equality = st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL])
comparisons = st.one_of(
    st.builds(Comparison, st.sampled_from(TEXT_FIELDS), equality, texts),
    st.builds(Comparison, st.just("evaluation"), equality, st.sampled_from(Verdict)),
    st.builds(Comparison, st.just("trigger"), equality, st.sampled_from(TriggerKind)),
    st.builds(Comparison, st.just("is_simulated"), equality, st.booleans()),
    st.builds(
        Comparison, st.just("sequence"), st.sampled_from(Operator), st.integers(min_value=0, max_value=10**17)
    ),
    st.builds(
        Comparison, st.sampled_from(["trigger_time", "decide_time"]), st.sampled_from(Operator), moments
    ),
)


def written(comparison: Comparison, space: str) -> str:
    value = comparison.value
    match value:
        case bool():
            text = "true" if value else "false"
        case datetime():
            text = f'"{value.isoformat()}"'
        case Verdict() | TriggerKind():
            text = value.value
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            text = f'"{escaped}"'
        case _:
            text = str(value)
    return f"{comparison.field}{space}{comparison.operator.value}{space}{text}"


@given(st.lists(comparisons, max_size=6), st.sampled_from(["", " ", "  ", "\t"]))
def test_what_is_written_is_read_back(parts, space):
    text = " AND ".join(written(part, space) for part in parts)
    assert parse(text) == tuple(parts)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    try:
        parsed = parse(text)
    except BadFilter:
        return  # the only error there may be
    assert all(comparison.field in FIELDS for comparison in parsed)


@pytest.mark.parametrize(
    "text",
    [
        "station",
        "station =",
        "= st1",
        "station = st1 station = st2",
        "station = st1 AND",
        "AND station = st1",
        "station = st1 OR station = st2",
        "NOT station = st1",
        "(station = st1)",
        "station : st1",
        "station > st1",
        "colour = red",
        "evaluation = GOOD",
        "evaluation = UNSPECIFIED",
        "is_simulated = 1",
        "sequence > -1",
        "sequence > 1.5",
        'sequence > "9" 9',
        "trigger_time > 2026-01-31T06:00:00",
        "trigger_time > yesterday",
        'part_id = "unclosed',
        'part_id = "a\\n"',
        "station = st1 AND " * 200 + "station = st1",
    ],
)
def test_what_is_not_of_the_language_is_refused(text):
    with pytest.raises(BadFilter):
        parse(text)


def test_a_refusal_names_the_place_and_the_fields():
    with pytest.raises(BadFilter, match=r"'colour' at 17 .*evaluation"):
        parse("station=st1 AND  colour=red")


def test_names_of_the_contract_and_of_the_record_mean_the_same():
    assert parse("evaluation=RESULT_EVALUATION_NOT_OK") == parse("evaluation=NOT_OK")
    assert parse("trigger=TRIGGER_KIND_MQTT") == parse("trigger=mqtt")


def test_times_are_compared_as_moments_whatever_their_zone(make):
    at = make(1).draft.intake.triggered_at
    there = at.astimezone(timezone(timedelta(hours=9))).isoformat()
    assert matches(make(1), parse(f'trigger_time = "{there}"'))
    assert not matches(make(1), parse(f'trigger_time < "{there}"'))


@pytest.mark.parametrize("operator", list(Operator))
@pytest.mark.parametrize("right", [1, 2, 3])
def test_an_operator_means_what_it_means_elsewhere(make, operator, right):
    meant = {
        "=": right == 2,
        "!=": right != 2,
        "<": right > 2,
        "<=": right >= 2,
        ">": right < 2,
        ">=": right <= 2,
    }
    assert matches(make(2), parse(f"sequence {operator.value} {right}")) == meant[operator.value]


def test_all_comparisons_must_hold(make):
    assert matches(make(2), parse("sequence = 2 AND station = st1"))
    assert not matches(make(2), parse("sequence = 2 AND station = st2"))
    assert matches(make(2), parse(""))


def test_the_documentation_names_every_field_and_no_other():
    text = (Path(__file__).parents[3] / "docs" / "grpc.md").read_text()
    table = text.split("## Filters")[1].split("All operators")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert named == set(FIELDS)
