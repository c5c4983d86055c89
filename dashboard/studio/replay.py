"""What a threshold would have done to parts that people have labelled: escapes, overkill and reviews, with n.

Pure functions over stored answers. Only what a threshold can change is judged anew: a part that failed a rule
or could not be looked at stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

BY_CONFIDENCE = frozenset({"FINDING", "LOW_CONFIDENCE"})
"""Reasons that a threshold decides about; any other keeps its verdict."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine said to a question. `fails`: whether this answer makes the part bad."""

    ask: str
    confidence: float
    fails: bool


@dataclass(frozen=True, slots=True)
class Labelled:
    """A part that people have settled. `verdict`, `truth`: OK, NOT_OK or NOT_DECIDABLE."""

    verdict: str
    truth: str
    answers: tuple[Answer, ...]
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """Over `bad` and `good` labelled parts: bad ones passed, good ones failed, and those left to people."""

    good: int = 0
    bad: int = 0
    escapes: int = 0
    overkill: int = 0
    reviews: int = 0

    @property
    def n(self) -> int:
        """All of them."""
        return self.good + self.bad


def judged(part: Labelled, thresholds: Mapping[str, float]) -> str:
    """The verdict of a part under other thresholds, by the rule of recipes: a sure defect outweighs doubt."""
    if part.fixed or not part.answers:
        return part.verdict
    sure = [answer.confidence >= thresholds.get(answer.ask, 0.9) for answer in part.answers]
    if any(is_sure and answer.fails for is_sure, answer in zip(sure, part.answers, strict=True)):
        return "NOT_OK"
    return "OK" if all(sure) else "NOT_DECIDABLE"


def replay(parts: Iterable[Labelled], thresholds: Mapping[str, float]) -> Count:
    """Counts over parts whose truth is OK or NOT_OK; the others teach nothing."""
    good = bad = escapes = overkill = reviews = 0
    for part in parts:
        if part.truth not in ("OK", "NOT_OK"):
            continue
        verdict = judged(part, thresholds)
        good += part.truth == "OK"
        bad += part.truth == "NOT_OK"
        escapes += part.truth == "NOT_OK" and verdict == "OK"
        overkill += part.truth == "OK" and verdict == "NOT_OK"
        reviews += verdict == "NOT_DECIDABLE"
    return Count(good, bad, escapes, overkill, reviews)


def sweep(
    parts: Sequence[Labelled], ask: str, present: Mapping[str, float], steps: Iterable[float]
) -> list[tuple[float, Count]]:
    """One question's threshold at each step, the others as they are."""
    return [(step, replay(parts, {**present, ask: step})) for step in steps]
