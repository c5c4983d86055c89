"""From answers to a verdict: OK only when nothing whatsoever objects."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.rules.judge import judge
from lineside.daemon.values import Reason, ReasonCode, Verdict
from lineside.engines.base import Answer, Timings, TokenCounts

RECIPE = parse_recipe(
    """\
recipe: tray
trigger: {kind: grpc}
ask:
  - id: cap
    question: Is the cap on?
    answer: {choice: [ok, missing, tilted]}
  - id: tablets
    question: How many tablets?
    answer: {count: [0, 6]}
    expect: {equals: 6}
  - id: code
    question: Read the code.
    answer: {text: "[A-Z][0-9]{5}"}
    rules: [{check_digit: gs1}, {equals: mes.lot}]
    min_confidence: 0.8
""",
    "tray.yaml",
).recipe

GOOD_CODE = "K12348"
MES = {"lot": GOOD_CODE}


def answer(
    value: object,
    confidence: float = 0.99,
    probabilities: dict[str, float] | None = None,
    familiarity: float | None = 0.3,
) -> Answer:
    return Answer(
        text=str(value),
        value=value,
        confidence=confidence,
        probabilities=probabilities or {},
        runner_up=None,
        decisions=(),
        token_ids=(),
        tokens=TokenCounts(0, 0, 0, 0, 0),
        timings=Timings(0, 0, 0, 0, 0),
        familiarity=familiarity,
    )


GOOD = {"cap": answer("ok"), "tablets": answer(6), "code": answer(GOOD_CODE)}


def test_a_good_part_is_ok_without_reasons() -> None:
    judgement = judge(RECIPE, GOOD, MES)

    assert judgement.verdict is Verdict.OK
    assert judgement.reasons == ()
    assert [(f.ask, f.label, f.text, f.count, f.is_defect) for f in judgement.findings] == [
        ("cap", "ok", None, None, False),
        ("tablets", "tablets", None, 6, False),
        ("code", "code", GOOD_CODE, None, False),
    ]


@pytest.mark.parametrize(
    ("ask", "said", "verdict", "code"),
    [
        ("cap", answer("missing"), Verdict.NOT_OK, ReasonCode.FINDING),
        ("cap", answer("missing", 0.7), Verdict.NOT_DECIDABLE, ReasonCode.LOW_CONFIDENCE),
        ("cap", answer("ok", 0.89), Verdict.NOT_DECIDABLE, ReasonCode.LOW_CONFIDENCE),
        ("cap", answer("ok", familiarity=1.01), Verdict.NOT_DECIDABLE, ReasonCode.UNFAMILIAR),
        ("cap", answer("missing", familiarity=1.01), Verdict.NOT_DECIDABLE, ReasonCode.UNFAMILIAR),
        ("cap", answer("ok", familiarity=math.nan), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        ("cap", answer("ok", math.nan), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        ("cap", answer("ok", math.inf), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        ("cap", answer("OK"), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        ("cap", answer(None), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        ("cap", answer(["ok"]), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        (
            "cap",
            answer("ok", 0.95, {"ok": 0.5, "missing": 0.5}),
            Verdict.NOT_DECIDABLE,
            ReasonCode.UNDECODABLE,
        ),
        ("cap", answer("ok", 0.95, {"missing": 0.95}), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        (
            "cap",
            answer("ok", 0.95, {"ok": 0.95, "tilted": math.nan}),
            Verdict.NOT_DECIDABLE,
            ReasonCode.UNDECODABLE,
        ),
        ("tablets", answer(5), Verdict.NOT_OK, ReasonCode.RULE),
        ("tablets", answer(7), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        ("tablets", answer("6"), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        ("tablets", answer(True), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        ("code", answer("K12345"), Verdict.NOT_OK, ReasonCode.RULE),
        ("code", answer("K12345", 0.5), Verdict.NOT_DECIDABLE, ReasonCode.LOW_CONFIDENCE),
        ("code", answer("12345"), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
        ("code", answer("K12348\n"), Verdict.NOT_DECIDABLE, ReasonCode.UNDECODABLE),
    ],
)
def test_one_answer_that_is_not_good_decides(
    ask: str, said: Answer, verdict: Verdict, code: ReasonCode
) -> None:
    judgement = judge(RECIPE, {**GOOD, ask: said}, MES)

    assert judgement.verdict is verdict
    assert {(reason.code, reason.ask) for reason in judgement.reasons} == {(code, ask)}


def test_a_missing_answer_decides_nothing() -> None:
    judgement = judge(RECIPE, {"cap": GOOD["cap"], "tablets": GOOD["tablets"]}, MES)

    assert judgement.verdict is Verdict.NOT_DECIDABLE
    assert [reason.ask for reason in judgement.reasons] == ["code"]


def test_a_clear_defect_wins_over_another_questions_doubt() -> None:
    judgement = judge(RECIPE, {"cap": answer("missing"), "tablets": answer(6, 0.4)}, MES)

    assert judgement.verdict is Verdict.NOT_OK
    assert judgement.reasons[0].code is ReasonCode.FINDING
    assert {reason.ask for reason in judgement.reasons} == {"cap", "tablets", "code"}


def test_two_defects_between_which_the_engine_wavers_are_a_defect_all_the_same() -> None:
    wavers = answer("missing", 0.5, {"missing": 0.5, "tilted": 0.45, "ok": 0.05})

    assert judge(RECIPE, {**GOOD, "cap": wavers}, MES).verdict is Verdict.NOT_OK


def test_counts_between_which_the_engine_wavers_are_a_defect_when_none_of_them_is_right() -> None:
    wavers = answer(4, 0.5, {"4": 0.5, "5": 0.45, "6": 0.05})
    near = answer(5, 0.5, {"5": 0.5, "6": 0.45, "4": 0.05})

    assert judge(RECIPE, {**GOOD, "tablets": wavers}, MES).verdict is Verdict.NOT_OK
    assert judge(RECIPE, {**GOOD, "tablets": near}, MES).verdict is Verdict.NOT_DECIDABLE


def test_what_mes_did_not_send_cannot_be_compared() -> None:
    judgement = judge(RECIPE, GOOD, {})

    assert judgement.verdict is Verdict.NOT_DECIDABLE
    assert "MES sent no lot" in judgement.reasons[0].message


def test_another_lot_than_mes_expects_is_bad() -> None:
    assert judge(RECIPE, GOOD, {"lot": "K99998"}).verdict is Verdict.NOT_OK


@pytest.mark.parametrize("blames", ["cap", None])
def test_trouble_before_the_engine_leaves_no_ok(blames: str | None) -> None:
    trouble = Reason(ReasonCode.IMAGE_QUALITY, "blurred", blames)

    judgement = judge(RECIPE, GOOD, MES, troubles=[trouble])

    assert judgement.verdict is Verdict.NOT_DECIDABLE
    assert judgement.reasons == (trouble,)


def test_a_question_whose_picture_was_bad_cannot_find_a_defect() -> None:
    trouble = Reason(ReasonCode.IMAGE_QUALITY, "blurred", "cap")

    assert (
        judge(RECIPE, {**GOOD, "cap": answer("missing")}, MES, troubles=[trouble]).verdict
        is Verdict.NOT_DECIDABLE
    )


ODD_NUMBERS = st.floats() | st.sampled_from([0.0, 0.5, 0.89, 0.9, 0.95, 0.99, 1.0])
ODD_VALUES = (
    st.sampled_from(["ok", "missing", "tilted", GOOD_CODE, "K12345", "", 6, 5, -1, True, None, 6.0])
    | st.text(max_size=8)
    | st.integers()
    | st.lists(st.integers(), max_size=2)
)
ODD_ANSWERS = st.builds(
    answer,
    ODD_VALUES,
    ODD_NUMBERS,
    st.none()
    | st.dictionaries(st.sampled_from(["ok", "missing", "5", "6", "²", GOOD_CODE]), ODD_NUMBERS, max_size=4),
    st.none() | ODD_NUMBERS,
)
TROUBLES = st.lists(
    st.builds(
        Reason,
        st.sampled_from(list(ReasonCode)),
        st.just("x"),
        st.sampled_from([None, "cap", "code", "elsewhere"]),
    ),
    max_size=2,
)


@given(
    answers=st.dictionaries(st.sampled_from(["cap", "tablets", "code", "other"]), ODD_ANSWERS),
    expected=st.dictionaries(st.sampled_from(["lot", "x"]), st.sampled_from([GOOD_CODE, "", "other"])),
    troubles=TROUBLES,
)
def test_no_input_gives_ok_unless_every_answer_is_sound_sure_familiar_and_good(
    answers: dict[str, Answer], expected: dict[str, str], troubles: list[Reason]
) -> None:
    judgement = judge(RECIPE, answers, expected, troubles=troubles)

    passing = {"cap": "ok", "tablets": 6, "code": GOOD_CODE}
    all_good = all(
        ask.id in answers
        and type(answers[ask.id].value) is type(passing[ask.id])
        and answers[ask.id].value == passing[ask.id]
        and answers[ask.id].confidence >= ask.min_confidence
        and (answers[ask.id].familiarity is None or answers[ask.id].familiarity <= 1)
        for ask in RECIPE.ask
    )
    if judgement.verdict is Verdict.OK:
        assert all_good
        assert expected.get("lot") == GOOD_CODE
        assert not troubles
        assert not judgement.reasons
    else:
        assert judgement.reasons


@given(st.floats(0.9, 1.0), st.floats(0.9, 1.0), st.floats(0.8, 1.0))
def test_sure_good_answers_do_pass(cap: float, tablets: float, code: float) -> None:
    answers = {"cap": answer("ok", cap), "tablets": answer(6, tablets), "code": answer(GOOD_CODE, code)}

    assert judge(RECIPE, answers, MES).verdict is Verdict.OK


@given(st.data())
def test_a_rule_more_never_makes_a_verdict_better(data: st.DataObject) -> None:
    worse = {Verdict.OK: 0, Verdict.NOT_DECIDABLE: 1, Verdict.NOT_OK: 1}
    said = data.draw(st.dictionaries(st.sampled_from(["cap", "tablets", "code"]), ODD_ANSWERS))
    bare = RECIPE.model_copy(
        update={"ask": tuple(ask.model_copy(update={"rules": ()}) for ask in RECIPE.ask)}
    )

    assert worse[judge(RECIPE, said, MES).verdict] >= worse[judge(bare, said, MES).verdict]
