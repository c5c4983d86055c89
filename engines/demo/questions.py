"""The three questions the demo engine was trained on, word for word; it knows no others.

Knows texts, allowed answers and the JSON form of an answer. Does not know tokens or pictures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from lineside.engines.demo.truth import CAP_CLASSES, CODE_LETTERS, FULL_BLISTER, PartTruth


@dataclass(frozen=True)
class DemoQuestion:
    """One question: what is asked of which region, and what may be answered."""

    id: str
    region: str
    text: str
    kind: Literal["choice", "count", "text"]
    choices: tuple[str, ...] = ()
    maximum: int = 0
    pattern: str = ""

    def decisions(self) -> int:
        """How many tokens of the answer are decided rather than forced."""
        return 6 if self.kind == "text" else 1


CAP = DemoQuestion(
    id="cap",
    region="cap",
    text="Is the cap on straight, undamaged, clean and printed right?",
    kind="choice",
    choices=CAP_CLASSES,
)
TABLETS = DemoQuestion(
    id="tablets",
    region="blister",
    text="How many tablets are in the blister?",
    kind="count",
    maximum=FULL_BLISTER,
)
CODE = DemoQuestion(
    id="code",
    region="code",
    text="Read the lot code on the label.",
    kind="text",
    pattern=f"^[{CODE_LETTERS}][0-9]{{5}}$",
)
QUESTIONS: tuple[DemoQuestion, ...] = (CAP, TABLETS, CODE)


def right_answer(question: DemoQuestion, truth: PartTruth) -> str | int:
    """What a perfect reader says."""
    if question is CAP:
        return truth.cap
    return truth.tablets if question is TABLETS else truth.code


def answer_json(answer: str | int) -> str:
    """The answer as the engine writes it: no spaces."""
    return json.dumps({"answer": answer}, separators=(",", ":"))
