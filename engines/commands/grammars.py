"""How a question is said on the command line: its words, and what may be answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lineside.engines.base import Choice, Count, Free, Grammar, Language, Prompt, Schema, Text

_OPTIONS = (
    click.option("--prompt", help="What is asked, answered in free text unless an answer's form is given."),
    click.option("--instruction", default="", help="The recipe's fixed words, before the pictures."),
    click.option("--question", default="", help="Words after the pictures."),
    click.option("--choice", help="Allowed values, separated by commas."),
    click.option("--count", metavar="MIN:MAX", help="Ask for a number, as in 0:10."),
    click.option("--text", metavar="PATTERN", help="Ask for text that matches a pattern."),
    click.option(
        "--schema",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Ask for an object of a JSON Schema in a file.",
    ),
    click.option(
        "--grammar",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Ask for text of a grammar in a file: JSON Schema (.json), regex (.regex) or Lark (.lark).",
    ),
)
_FORMS = "--choice, --count, --text, --schema and --grammar"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options said, unread."""

    prompt: str | None
    instruction: str
    question: str
    choice: str | None
    count: str | None
    text: str | None
    schema: Path | None
    grammar: Path | None

    def is_nothing(self) -> bool:
        """Whether no question was given at all."""
        return not (self.prompt or self.instruction or self.question or self._forms())

    def read_prompt(self, *, raw: bool = False) -> Prompt:
        """The words.

        Raises:
            click.UsageError: two places for the same words, or raw words with a template's parts.
        """
        if self.prompt is not None and self.question:
            raise click.UsageError("--prompt and --question are the same words: give one of them")
        if raw and (self.prompt is None or self.instruction):
            raise click.UsageError("--raw sends --prompt as it is, and takes no --instruction")
        return Prompt(self.instruction, self.prompt if self.prompt is not None else self.question, raw)

    def read_grammar(self) -> Grammar:
        """What may be answered.

        Raises:
            click.UsageError: nothing or more than one thing was given, or it cannot be read.
        """
        forms = self._forms()
        if not forms and self.prompt is not None:
            return Free(cut=True)
        if len(forms) != 1:
            raise click.UsageError(f"say what may be answered with one of {_FORMS}, or ask with --prompt")
        if self.choice is not None:
            return Choice(tuple(value.strip() for value in self.choice.split(",") if value.strip()))
        if self.count is not None:
            return _count(self.count)
        if self.text is not None:
            return Text(self.text)
        return _in_file(self.schema, ".json") if self.schema is not None else _in_file(self.grammar)

    def _forms(self) -> list[object]:
        given = (self.choice, self.count, self.text, self.schema, self.grammar)
        return [one for one in given if one is not None]


def question_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of a question, handed to it together as `asked`."""

    def gathered(**given: Any) -> Any:
        names = Asked.__dataclass_fields__
        asked = Asked(**{name: given.pop(name) for name in names})
        return command(asked=asked, **given)

    gathered.__name__, gathered.__doc__ = command.__name__, command.__doc__
    gathered.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered


def _count(words: str) -> Count:
    low, colon, high = words.partition(":")
    try:
        return Count(int(low), int(high)) if colon else Count(0, int(low))
    except ValueError as error:
        raise click.UsageError(f"--count takes MIN:MAX, not {words!r}") from error


def _in_file(path: Path | None, kind: str | None = None) -> Grammar:
    assert path is not None
    try:
        source = path.read_text("utf-8")
        match kind or path.suffix:
            case ".json":
                schema = json.loads(source)
                if not isinstance(schema, dict):
                    raise click.UsageError(f"{path} is not a JSON Schema: it is no object")
                return Schema(schema)
            case ".regex":
                # An editor ends a file with a line's end, which is no part of the pattern.
                return Language(source.removesuffix("\n"))
            case ".lark":
                return Language(source, "lark")
            case _:
                raise click.UsageError(f"{path}: a grammar's file ends in .json, .regex or .lark")
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from error
