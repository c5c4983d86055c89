"""Refuses what a narrow engine was not trained for, and says what it does know.

Knows a manifest's scope and grammars; does not know models.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineside.engines.base import Choice, Clip, Count, Grammar, Image, Prompt, Text
from lineside.engines.errors import UnknownQuestion
from lineside.engines.grammar import anchored
from lineside.engines.manifest import ScopeEntry


def known_question(scope: tuple[ScopeEntry, ...], prompt: Prompt, grammar: Grammar) -> ScopeEntry:
    """The scope's entry for a question, wherever a prompt has its words: before the pictures or after.

    Raises:
        UnknownQuestion: another question, kind of answer or allowed value; the message lists what is known.
    """
    asked = prompt.instruction + prompt.question
    entry = next((one for one in scope if one.instruction == asked), None)
    if entry is None or prompt.raw:
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


def as_trained(entry: ScopeEntry) -> Prompt:
    """A narrow engine's question with its words where they were in training: before the pictures."""
    return Prompt(instruction=entry.instruction)


def check_pictures(images: Sequence[Image | Clip]) -> None:
    """Refuses what a narrow engine never saw in training: anything but one picture a question.

    Raises:
        UnknownQuestion: several pictures, a clip, or none.
    """
    if len(images) != 1 or isinstance(images[0], Clip):
        shown = "a clip" if len(images) == 1 else f"{len(images)} pictures"
        raise UnknownQuestion(f"this engine was trained on one picture a question, not on {shown}")


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
