"""The one place where answers become a verdict. Pure: same recipe, answers and expectations, same verdict.

OK is what is left when nothing objects: every question answered soundly, surely, on a familiar picture,
with an allowed good value. A clear defect wins over another question's doubt, and doubt over every pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lineside.daemon.recipes.asks import Ask, ChoiceAnswer, CountAnswer, TextAnswer
from lineside.daemon.recipes.schema import Recipe
from lineside.daemon.rules.answers import unsound
from lineside.daemon.rules.checks import Objection, broken_rules
from lineside.daemon.values import Box, Finding, Reason, ReasonCode, Verdict
from lineside.engines.base import Answer

FAMILIAR = 1.0
"""An engine's familiarity above this means a picture unlike what it was trained on."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reasons (none for OK) and what was found."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Opinion:
    """What one question says about the part."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    finding: Finding | None


def judge(
    recipe: Recipe,
    answers: Mapping[str, Answer],
    expected: Mapping[str, str],
    *,
    boxes: Mapping[str, Box] | None = None,
    troubles: Sequence[Reason] = (),
) -> Judgement:
    """The verdict on one part.

    `answers`: by the questions' ids; a question without one decides nothing. `expected`: what MES sent.
    `boxes`: where each question looked, in fractions of the frame. `troubles`: what stood in the way
    of asking; one that names a question spoils that question, one that names none spoils every pass.
    """
    opinions = [
        _opinion(
            ask,
            answers.get(ask.id),
            expected,
            (boxes or {}).get(ask.id),
            [trouble for trouble in troubles if trouble.ask == ask.id],
        )
        for ask in recipe.ask
    ]
    ids = {ask.id for ask in recipe.ask}
    general = tuple(trouble for trouble in troubles if trouble.ask not in ids)
    findings = tuple(opinion.finding for opinion in opinions if opinion.finding is not None)
    verdicts = [opinion.verdict for opinion in opinions]
    reasons = general + tuple(reason for opinion in opinions for reason in opinion.reasons)
    if Verdict.NOT_OK in verdicts:
        clear = tuple(r for o in opinions if o.verdict is Verdict.NOT_OK for r in o.reasons)
        return Judgement(Verdict.NOT_OK, clear + tuple(r for r in reasons if r not in clear), findings)
    if general or not verdicts or any(verdict is not Verdict.OK for verdict in verdicts):
        return Judgement(Verdict.NOT_DECIDABLE, reasons, findings)
    return Judgement(Verdict.OK, (), findings)


def _opinion(
    ask: Ask, answer: Answer | None, expected: Mapping[str, str], box: Box | None, troubles: list[Reason]
) -> _Opinion:
    if troubles or answer is None:
        reasons = troubles or [Reason(ReasonCode.UNDECODABLE, "the engine gave no answer", ask.id)]
        return _Opinion(Verdict.NOT_DECIDABLE, tuple(reasons), None)
    wrong = unsound(ask, answer)
    if wrong is not None:
        reason = Reason(ReasonCode.UNDECODABLE, f"the answer cannot be used: {wrong}", ask.id)
        return _Opinion(Verdict.NOT_DECIDABLE, (reason,), None)
    value = answer.value
    assert isinstance(value, str | int), "a sound answer is a text or a number"
    defects = _defects(ask, value, expected)
    is_bad = any(defect.decided for defect, _ in defects)
    finding = _finding(ask, value, answer.confidence, is_bad, box)
    doubt = _doubt(ask, answer, is_bad, expected)
    if doubt is not None:
        return _Opinion(Verdict.NOT_DECIDABLE, (doubt,), finding)
    reasons = [Reason(code, defect.message, ask.id) for defect, code in defects]
    if is_bad:
        return _Opinion(Verdict.NOT_OK, tuple(reasons), finding)
    if reasons:
        return _Opinion(Verdict.NOT_DECIDABLE, tuple(reasons), finding)
    return _Opinion(Verdict.OK, (), finding)


def _defects(ask: Ask, value: str | int, expected: Mapping[str, str]) -> list[tuple[Objection, ReasonCode]]:
    named = [(Objection(f"found: {value}"), ReasonCode.FINDING)] if value in ask.bad_values else []
    return [*named, *((objection, ReasonCode.RULE) for objection in broken_rules(ask, value, expected))]


def _doubt(ask: Ask, answer: Answer, is_bad: bool, expected: Mapping[str, str]) -> Reason | None:
    """Why a sound answer still decides nothing."""
    if answer.familiarity is not None and answer.familiarity > FAMILIAR:
        distance = f"{answer.familiarity:.2f}, limit {FAMILIAR:g}"
        message = f"the picture is unlike what the engine was trained on ({distance})"
        return Reason(ReasonCode.UNFAMILIAR, message, ask.id)
    sureness = _sureness_of_bad(ask, answer, expected) if is_bad else answer.confidence
    if sureness < ask.min_confidence:
        message = f"{sureness:.3f} sure of '{answer.value}', {ask.min_confidence:g} is needed"
        return Reason(ReasonCode.LOW_CONFIDENCE, message, ask.id)
    return None


def _sureness_of_bad(ask: Ask, answer: Answer, expected: Mapping[str, str]) -> float:
    """How sure it is that the part is bad, whichever defect it is: the bad values' probabilities together."""
    bad = sum(
        answer.probabilities.get(str(value), 0.0)
        for value in _allowed(ask)
        if any(defect.decided for defect, _ in _defects(ask, value, expected))
    )
    return max(bad, answer.confidence)


def _allowed(ask: Ask) -> Sequence[str] | range:
    match ask.answer:
        case ChoiceAnswer(choice=values):
            return values
        case CountAnswer(count=(low, high)):
            return range(low, high + 1)
        case TextAnswer():
            return ()


def _finding(ask: Ask, value: str | int, confidence: float, is_bad: bool, box: Box | None) -> Finding:
    return Finding(
        ask=ask.id,
        label=str(value) if ask.answer.kind == "choice" else ask.id,
        confidence=min(max(confidence, 0.0), 1.0),
        is_defect=is_bad,
        box=box,
        text=str(value) if ask.answer.kind == "text" else None,
        count=int(value) if ask.answer.kind == "count" else None,
    )
