"""Whether an engine's answer is one at all: of the asked kind, allowed, finite and in agreement with itself.

Trusts nothing that an engine says: an answer that is not sound decides nothing.
"""

from __future__ import annotations

import math
import re

from lineside.daemon.recipes.asks import Ask, ChoiceAnswer, CountAnswer, TextAnswer
from lineside.engines.base import Answer

SLACK = 0.02
"""Probabilities are computed in 32 bits and rounded on their way."""


def unsound(ask: Ask, answer: Answer) -> str | None:
    """What is wrong with the answer; None when it can be used."""
    if not _is_share(answer.confidence):
        return f"confidence is {answer.confidence}"
    if answer.familiarity is not None and not _is_number(answer.familiarity):
        return f"familiarity is {answer.familiarity}"
    return _not_allowed(ask, answer.value) or _at_odds(answer)


def _not_allowed(ask: Ask, value: object) -> str | None:
    match ask.answer:
        case ChoiceAnswer(choice=values):
            return (
                None if isinstance(value, str) and value in values else f"{value!r} is not an allowed value"
            )
        case CountAnswer(count=(low, high)):
            fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
            return None if fits else f"{value!r} is not a number from {low} to {high}"
        case TextAnswer(text=pattern, max_length=longest):
            fits = (
                isinstance(value, str) and len(value) <= longest and re.fullmatch(pattern, value) is not None
            )
            return None if fits else f"{value!r} does not match {pattern}"


def _at_odds(answer: Answer) -> str | None:
    """Whether the distribution, where there is one, contradicts value or confidence."""
    shares = answer.probabilities
    if not shares:
        return None
    if not all(_is_share(share) for share in shares.values()):
        return "a probability is not a number from 0 to 1"
    own = shares.get(str(answer.value))
    if own is None:
        return f"the probabilities do not hold {answer.value!r}"
    if sum(shares.values()) > 1 + SLACK or max(shares.values()) > own + SLACK:
        return f"the probabilities contradict {answer.value!r}"
    if abs(own - answer.confidence) > SLACK:
        return f"confidence {answer.confidence:.3f} is not the probability {own:.3f} of {answer.value!r}"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)


def _is_share(value: object) -> bool:
    return _is_number(value) and -SLACK <= float(value) <= 1 + SLACK  # type: ignore[arg-type]  # a number, as just seen
