"""Ask an engine the demo questions about raw crops, whatever runs it.

`ask_engine` wraps a bundle opened by `lineside.engines`; `NetworkAsker` (in `monitor.py`) wraps weights in
training. Does not know right answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lineside.engines.base import AnswersQuestions, Choice, Count, Grammar, Prompt, Text
from lineside.engines.demo.canvas import Image
from lineside.engines.demo.questions import DemoQuestion


@dataclass(frozen=True)
class Said:
    """What came back: the answer as text, how sure, how unfamiliar (above 1), in how many milliseconds."""

    answer: str
    confidence: float
    unfamiliar: float
    milliseconds: float


class Ask(Protocol):
    """One question about one raw BGR crop."""

    def __call__(self, question: DemoQuestion, crop: Image) -> Said: ...


def grammar_of(question: DemoQuestion) -> Grammar:
    """What may be answered, in the engine's terms."""
    if question.kind == "choice":
        return Choice(question.choices)
    if question.kind == "count":
        return Count(0, question.maximum)
    return Text(question.pattern, question.decisions())


def ask_engine(engine: AnswersQuestions) -> Ask:
    """Ask through the runtime that inspects parts."""

    def ask(question: DemoQuestion, crop: Image) -> Said:
        rgb = np.ascontiguousarray(crop[..., ::-1])
        answer = engine.answer([rgb], Prompt(instruction=question.text), grammar_of(question))
        far = answer.familiarity if answer.familiarity is not None else 0.0
        return Said(str(answer.value), answer.confidence, far, answer.timings.total)

    return ask
