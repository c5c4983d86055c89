"""How far two engines differ, on the same pictures and questions: in their logits, tokens and verdicts.

What a quantised, rebuilt or further trained engine is held against before anybody ships it. Knows the
engine's interface; does not know bundles or files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lineside.engines.base import Answer, Choice, Count, Free, Grammar, Image, Prompt
from lineside.engines.errors import UndecodableAnswer
from lineside.engines.selftest import Observable

Region = tuple[float, float, float, float]
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Question:
    """One question to both engines. `region`: x0, y0, x1, y1 in fractions of the picture.

    `more`: further places that are shown after it; `golden`: a reference that is shown before everything.
    """

    id: str
    prompt: Prompt
    grammar: Grammar
    region: Region = WHOLE
    more: tuple[Region, ...] = ()
    golden: Image | None = field(default=None, compare=False)

    def shown(self, picture: Image) -> list[Image]:
        """What the engine is shown of a picture, in the order a recipe shows it."""
        crops = [cut(picture, region) for region in (self.region, *self.more)]
        return crops if self.golden is None else [self.golden, *crops]


@dataclass(frozen=True, slots=True)
class LogitGap:
    """Between two rows of logits: largest and mean difference, and KL(A‖B) in nats over the vocabulary."""

    largest: float
    mean: float
    divergence: float


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One picture that the engines judged differently, and how sure each was."""

    picture: str
    first: str
    second: str
    first_confidence: float
    second_confidence: float


@dataclass(frozen=True, slots=True)
class QuestionComparison:
    """One question over all pictures.

    `verdict_agreement`, `token_agreement`: shares; logit figures are None where the vocabularies differ.
    `unanswered`: pictures about which at least one engine gave no valid answer; they count as disagreeing.
    """

    id: str
    pictures: int
    verdict_agreement: float
    token_agreement: float
    confidence_gap: float
    logit_largest: float | None
    logit_mean: float | None
    divergence: float | None
    unanswered: int
    disagreements: tuple[Disagreement, ...]


@dataclass(slots=True)
class _Tally:
    agreeing: int = 0
    unanswered: int = 0
    tokens: list[float] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    gaps: list[LogitGap] = field(default_factory=list)
    pictures: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer, or None where there was no valid one, with the logits it was read from."""

    answer: Answer | None
    rows: list[NDArray[np.float32]]


def compare_engines(
    first: Observable,
    second: Observable,
    pictures: Iterable[tuple[str, Image]],
    questions: Sequence[Question],
    *,
    max_tokens: int = 256,
    progress: Callable[[str], None] | None = None,
) -> tuple[QuestionComparison, ...]:
    """Asks both engines every question about every picture (`pictures`: names and pixels, one at a time).

    Raises:
        UnknownQuestion, BadQuestion, PromptTooLong, BadImage: one of the engines cannot be asked this.
    """
    tallies = {question.id: _Tally() for question in questions}
    for name, picture in pictures:
        for question in questions:
            shown = question.shown(picture)
            one = _ask(first, shown, question, max_tokens)
            other = _ask(second, shown, question, max_tokens)
            _count(tallies[question.id], name, question, one, other)
        if progress is not None:
            progress(name)
    return tuple(_summary(id_, tally) for id_, tally in tallies.items())


def cut(picture: Image, region: Region) -> Image:
    """The part of a picture in a region, at least one pixel wide and high."""
    height, width = picture.shape[:2]
    x0, x1 = sorted(round(edge * width) for edge in (region[0], region[2]))
    y0, y1 = sorted(round(edge * height) for edge in (region[1], region[3]))
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    return np.ascontiguousarray(picture[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)])


def _ask(engine: Observable, pictures: Sequence[Image], question: Question, max_tokens: int) -> _Said:
    rows: list[NDArray[np.float32]] = []
    try:
        answer = engine.answer(
            pictures,
            question.prompt,
            question.grammar,
            max_tokens=max_tokens,
            observe=lambda row: rows.append(row.copy()),
        )
    except UndecodableAnswer:
        return _Said(None, rows)
    return _Said(answer, rows)


def _count(tally: _Tally, name: str, question: Question, first: _Said, second: _Said) -> None:
    tally.pictures += 1
    rows = list(zip(first.rows, second.rows, strict=False))[: _comparable(question, first, second)]
    tally.gaps += [gap(one, other) for one, other in rows if one.shape == other.shape]
    if first.answer is None or second.answer is None:
        tally.unanswered += 1
        tally.tokens.append(0.0)
        shown = [("no answer", 0.0) if one.answer is None else _shown(one.answer) for one in (first, second)]
    else:
        tally.tokens.append(token_agreement(first.answer.token_ids, second.answer.token_ids))
        tally.confidences.append(abs(first.answer.confidence - second.answer.confidence))
        if first.answer.value == second.answer.value:
            tally.agreeing += 1
            return
        shown = [_shown(first.answer), _shown(second.answer)]
    (value, sure), (other, other_sure) = shown
    tally.disagreements.append(Disagreement(name, value, other, sure, other_sure))


def _shown(answer: Answer) -> tuple[str, float]:
    return str(answer.value), answer.confidence


def _comparable(question: Question, first: _Said, second: _Said) -> int:
    """How many rows of logits both engines gave after the same tokens."""
    if isinstance(question.grammar, Choice | Count) or first.answer is None or second.answer is None:
        return 1
    if isinstance(question.grammar, Free):
        return _agreeing(first.answer.token_ids, second.answer.token_ids) + 1
    taken, other = ([one.token for one in said.decisions] for said in (first.answer, second.answer))
    return _agreeing(taken, other) + 1


def _agreeing(first: Sequence[object], second: Sequence[object]) -> int:
    """How many of the first tokens are the same."""
    same = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        same += 1
    return same


def token_agreement(first: Sequence[int], second: Sequence[int]) -> float:
    """The share of places with the same token, of the longer answer; 1 for two empty ones."""
    longer = max(len(first), len(second))
    return sum(a == b for a, b in zip(first, second, strict=False)) / longer if longer else 1.0


def gap(first: NDArray[np.float32], second: NDArray[np.float32]) -> LogitGap:
    """How far two rows of logits [vocabulary] are apart. Logits that are no numbers make it infinite."""
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return LogitGap(np.inf, np.inf, np.inf)
    wide, other = first.astype(np.float64), second.astype(np.float64)
    apart = np.abs(wide - other)
    log_a, log_b = _log_shares(wide), _log_shares(other)
    return LogitGap(
        float(apart.max()), float(apart.mean()), max(float((np.exp(log_a) * (log_a - log_b)).sum()), 0.0)
    )


def _log_shares(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max()
    shares: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return shares


def _summary(id_: str, tally: _Tally) -> QuestionComparison:
    gaps, count = tally.gaps, max(tally.pictures, 1)
    return QuestionComparison(
        id=id_,
        pictures=tally.pictures,
        verdict_agreement=tally.agreeing / count,
        token_agreement=sum(tally.tokens) / count,
        confidence_gap=sum(tally.confidences) / max(len(tally.confidences), 1),
        logit_largest=max((one.largest for one in gaps), default=None),
        logit_mean=sum(one.mean for one in gaps) / len(gaps) if gaps else None,
        divergence=sum(one.divergence for one in gaps) / len(gaps) if gaps else None,
        unanswered=tally.unanswered,
        disagreements=tuple(tally.disagreements[:_EXAMPLES]),
    )
