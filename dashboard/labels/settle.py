"""When a part is settled: a pure function of its verdict and of what people decided, in order.

A decision that contradicts the verdict, or that nothing can be told, wants a second reader who does not see
the first. Two who differ are settled by an engineer. Nothing is ever settled by who was louder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a part stands. As stored in `results.review`."""

    NONE = "none"  # nobody is asked
    WAITING = "waiting"
    SECOND = "second"
    DISPUTED = "disputed"
    DONE = "done"


class Decision(StrEnum):
    """What a person says a part is."""

    OK = "OK"
    NOT_OK = "NOT_OK"
    CANNOT_TELL = "NOT_DECIDABLE"


@dataclass(frozen=True, slots=True)
class Settled:
    """Where a part stands, and what it is once that is settled."""

    state: State
    truth: Decision | None = None


def settle(
    verdict: str, asked: bool, decisions: Sequence[Decision], *, second_reader: bool, drawn: bool = False
) -> Settled:
    """What follows from the decisions that stand, oldest first.

    `asked`: the part was put into the queue. `drawn`: a second reading is wanted in any case, by lot.
    `second_reader`: second readings are asked for at all.
    """
    if not decisions:
        return Settled(State.WAITING if asked else State.NONE)
    first = decisions[0]
    if len(decisions) == 1:
        doubtful = first is Decision.CANNOT_TELL or contradicts(verdict, first)
        if second_reader and (doubtful or drawn):
            return Settled(State.SECOND)
        return Settled(State.DONE, first)
    if len(decisions) == 2 and decisions[1] is not first:
        return Settled(State.DISPUTED)
    return Settled(State.DONE, decisions[-1])


def contradicts(verdict: str, decision: Decision) -> bool:
    """Whether a person says the opposite of what the device said."""
    return {verdict, decision.value} == {"OK", "NOT_OK"}
