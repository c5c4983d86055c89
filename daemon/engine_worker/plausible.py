"""Whether an answer may be believed as an answer at all: finite numbers, and a value that was allowed.

Pure. Checked on the daemon's side, because a broken engine process can say anything. Judges form, not truth.
"""

from __future__ import annotations

import math
from typing import assert_never

from lineside.engines.base import Answer, Choice, Count, Free, Grammar, Language, Schema, Text


def objection(answer: Answer, grammar: Grammar) -> str | None:
    """What is wrong with `answer`, in words; None when nothing is."""
    probabilities = [answer.confidence, *answer.probabilities.values()]
    probabilities += [decision.probability for decision in answer.decisions]
    if answer.runner_up is not None:
        probabilities.append(answer.runner_up[1])
    for probability in probabilities:
        # Written so that NaN fails it.
        if not 0.0 <= probability <= 1.0 + 1e-6:
            return f"a probability of {probability}"
    if answer.familiarity is not None and not math.isfinite(answer.familiarity):
        return f"a familiarity of {answer.familiarity}"
    if not _allowed(answer.value, grammar):
        return f"the value {answer.value!r}, which {grammar} does not allow"
    return None


def _allowed(value: object, grammar: Grammar) -> bool:
    match grammar:
        case Choice(values=values):
            return isinstance(value, str) and value in values
        case Count(minimum=minimum, maximum=maximum):
            return isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
        case Text(max_length=max_length):
            return isinstance(value, str) and len(value) <= max_length
        case Schema():
            return value is not None
        case Language():
            return isinstance(value, str)
        case Free():
            return True
        case _:
            assert_never(grammar)
