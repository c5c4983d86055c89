"""The evaluation from drawn parts to a page, with an engine whose answers are known."""

from __future__ import annotations

import json

import pytest

from lineside.engines.base import Choice, Count, Text
from lineside.engines.demo.asking import Said, grammar_of
from lineside.engines.demo.canvas import Image
from lineside.engines.demo.evaluate import evaluate, judged
from lineside.engines.demo.questions import CAP, CODE, QUESTIONS, TABLETS, DemoQuestion
from lineside.engines.demo.report import markdown
from lineside.engines.demo.truth import PartTruth


def says_all_is_well(question: DemoQuestion, crop: Image) -> Said:
    answers = {"cap": "ok", "tablets": "6", "code": "K48217"}
    return Said(answers[question.id], 0.99, 0.5, 1.0)


def test_a_blind_engine_is_found_out() -> None:
    report = evaluate(
        says_all_is_well, {"name": "blind", "version": "0", "runtime": "none"}, parts=24, strange=2
    )

    assert report["in_scope"]["cap"]["confusion"]["ok"] == {
        "ok": report["in_scope"]["cap"]["confusion"]["ok"]["ok"]
    }
    assert report["in_scope"]["cap"]["accuracy"] < 0.6
    assert report["in_scope"]["code"]["accuracy"] == 0.0
    assert report["in_scope"]["cap"]["abstention"] == 0.0
    first = report["verdicts"]["review_curve"][0]
    assert first["escapes"] == report["verdicts"]["bad"]
    assert first["overkill"] == 0
    assert json.loads(json.dumps(report)) == report
    page = markdown(report)
    assert "| cap |" in page
    assert "another product" in page


def test_verdicts_follow_the_recipe() -> None:
    truth = PartTruth("ok", 6, "K48217", True)

    def verdict(**changed: str) -> bool:
        answers = {"cap": "ok", "tablets": "6", "code": "K48217"} | changed
        return judged(truth, {q.id: Said(answers[q.id], 1.0, 0.0, 0.0) for q in QUESTIONS}).passed

    assert verdict()
    assert not verdict(cap="tilted")
    assert not verdict(tablets="5")
    assert not verdict(code="K48211")


def test_doubt_is_the_least_sure_answer_and_unfamiliar_comes_first() -> None:
    truth = PartTruth("ok", 6, "K48217", True)
    said = {q.id: Said("ok", 1.0, 0.0, 0.0) for q in QUESTIONS}

    assert judged(truth, said | {"code": Said("K", 0.6, 0.0, 0.0)}).doubt == pytest.approx(0.4)
    assert judged(truth, said | {"cap": Said("ok", 1.0, 1.2, 0.0)}).doubt == pytest.approx(1.0)


def test_grammars_allow_what_was_trained() -> None:
    assert grammar_of(CAP) == Choice(CAP.choices)
    assert grammar_of(TABLETS) == Count(0, 6)
    assert grammar_of(CODE) == Text(CODE.pattern, 6)
