"""Refuses what a narrow engine was not trained for, and says what it does know.

Knows a manifest's scope and grammars; does not know models.
"""

from __future__ import annotations

from lineside.engines.base import Choice, Count, Grammar, Prompt, Text
from lineside.engines.errors import UnknownQuestion
from lineside.engines.grammar import anchored
from lineside.engines.manifest import ScopeEntry


def known_question(scope: tuple[ScopeEntry, ...], prompt: Prompt, grammar: Grammar) -> ScopeEntry:
    """The scope's entry for a question.

    Raises:
        UnknownQuestion: another question, kind of answer or allowed value; the message lists what is known.
    """
    entry = next((one for one in scope if one.instruction == prompt.instruction), None)
    if entry is None or prompt.question or prompt.raw:
        asked = (
            prompt.instruction
            if not (prompt.question or prompt.raw)
            else prompt.instruction + prompt.question
        )
        raise UnknownQuestion(f"this engine was not trained for {asked!r}. {_known(scope)}")
    kind, values = _asked(grammar)
    if kind != entry.kind:
        raise UnknownQuestion(
            f"this engine answers {entry.instruction!r} as a {entry.kind}, not as a {kind}."
        )
    if isinstance(grammar, Choice | Count):
        strange = [value for value in values if value not in entry.values]
        if strange and entry.values:
            raise UnknownQuestion(
                f"this engine was not trained to answer {strange[0]!r} to {entry.instruction!r}. "
                f"It knows: {', '.join(entry.values)}."
            )
    trained = entry.pattern
    if isinstance(grammar, Text) and trained is not None and anchored(grammar.pattern) != anchored(trained):
        raise UnknownQuestion(
            f"this engine was trained to read {trained} at {entry.instruction!r}, not {grammar.pattern}."
        )
    return entry


def _asked(grammar: Grammar) -> tuple[str, tuple[str, ...]]:
    match grammar:
        case Choice(values):
            return "choice", values
        case Count(minimum, maximum):
            return "count", tuple(str(value) for value in range(minimum, maximum + 1))
        case Text():
            return "text", ()
        case _:
            return "free text or a schema", ()


def _known(scope: tuple[ScopeEntry, ...]) -> str:
    return "It knows: " + "; ".join(f"{entry.instruction!r} ({entry.kind})" for entry in scope) + "."
