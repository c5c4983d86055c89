"""YAML files read into strict models, with errors that name file, line, key and the nearest right key.

Knows no particular file: settings and recipes bring their own models. Refuses aliases and merge keys,
so that a small file cannot grow in memory.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from lineside.daemon.secrets import masked_text

MAX_CHARACTERS = 64 * 1024
DEEPEST = 40
LONGEST_SHOWN = 1000
"""A longer value is not shown in a message: it could be cut through a password."""

Key = str | int
KeyPath = tuple[Key, ...]


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return folder / path if isinstance(folder, Path) and not path.is_absolute() else path


FilePath = Annotated[Path, AfterValidator(_beside_the_file)]
"""A path; a relative one is meant from the settings file's folder."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `line` counts from 1; `key` is written as people do, `cameras[0].path`."""

    line: int
    key: str
    message: str


class BadFile(Exception):
    """A file that cannot be used; `problems` holds every one found, in the order of their lines."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(self._line(problem) for problem in self.problems))

    def _line(self, problem: Problem) -> str:
        key = f"{problem.key}: " if problem.key else ""
        return f"{self.file}:{problem.line}: {key}{problem.message}"


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint for a wrong word: the nearest right one, else all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(sorted(known))}" if known else "there is none"


def located(problems: Sequence[tuple[KeyPath, str]]) -> PydanticCustomError:
    """An error for validators: each message with the path of the key to blame, relative to the model."""
    text = "; ".join(message for _, message in problems).replace("{", "(").replace("}", ")")
    return PydanticCustomError("located", text, {"problems": [(list(path), text) for path, text in problems]})


class Strict(BaseModel):
    """A frozen model that refuses unknown keys by name and guesses at nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        known = sorted(cls.model_fields)
        unknown = [key for key in given if key not in cls.model_fields]
        if unknown:
            raise located([((key,), f"unknown key; {nearest(str(key), known)}") for key in unknown])
        return given


Model = TypeVar("Model", bound=BaseModel)


def read_file(path: Path, model: type[Model], *, context: Mapping[str, object] | None = None) -> Model:
    """The validated content of a YAML file.

    Raises:
        BadFile: it cannot be read, is not YAML, or does not fit the model.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(str(path), [Problem(1, "", f"cannot be read: {error}")]) from error
    return parse(text, model, file=str(path), context=context)


def parse(text: str, model: type[Model], *, file: str, context: Mapping[str, object] | None = None) -> Model:
    """Like `read_file`, for text that is already here; `file` is what errors call it."""
    data, lines = _load(text, file)
    try:
        return model.model_validate(data, context=dict(context or {}))
    except ValidationError as error:
        problems = [problem for details in error.errors() for problem in _problems(details, data, lines)]
        raise BadFile(file, problems) from None


def _load(text: str, file: str) -> tuple[object, dict[KeyPath, int]]:
    if len(text) > MAX_CHARACTERS:
        raise BadFile(file, [Problem(1, "", f"is longer than {MAX_CHARACTERS} characters")])
    lines: dict[KeyPath, int] = {}
    try:
        _refuse_tricks(text, file)
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
        if root is not None:
            _note_lines(root, (), lines)
        data = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise BadFile(file, [Problem(line, "", f"is not YAML: {error.problem or error.context}")]) from None
    except (YAMLError, ValueError, OverflowError, RecursionError, AttributeError, TypeError) as error:
        # ruamel lets Python's own errors through for odd scalars (a date of month 13, a key that is a list).
        raise BadFile(file, [Problem(1, "", f"is not YAML: {error}")]) from None
    return data, lines


def _refuse_tricks(text: str, file: str) -> None:
    """Aliases multiply content and nesting takes quadratic time: neither belongs into a file of people."""
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(io.StringIO(text)):
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            raise BadFile(file, [Problem(line, "", f"alias *{event.anchor}: write the value out instead")])
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise BadFile(file, [Problem(line, "", f"is nested more than {DEEPEST} deep")])


def _note_lines(node: Node, path: KeyPath, lines: dict[KeyPath, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            lines[inner] = key.start_mark.line + 1
            _note_lines(value, inner, lines)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(value, (*path, index), lines)


def _problems(details: ErrorDetails, data: object, lines: Mapping[KeyPath, int]) -> list[Problem]:
    context: dict[str, Any] = details.get("ctx", {})
    given = details["input"]
    if details["type"] == "too_short" and isinstance(given, list) and len(given) >= context["min_length"]:
        return []  # too short only because items were refused, which are problems of their own
    path = _in_document(details["loc"], data, missing=details["type"] == "missing")
    if details["type"] == "located":
        found = [((*path, *inner), message) for inner, message in context["problems"]]
    elif details["type"] == "union_tag_invalid":
        key = context["discriminator"].strip("'")
        known = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
        hint = nearest(context["tag"], known)
        found = [((*path, key), f"'{context['tag']}' is not implemented in this version; {hint}")]
    elif details["type"] == "union_tag_not_found":
        found = [((*path, context["discriminator"].strip("'")), "missing")]
    else:
        found = [(path, _message(details))]
    return [Problem(_line_of(at, lines), written(at), message) for at, message in found]


def _in_document(loc: Sequence[Key], data: object, *, missing: bool) -> KeyPath:
    """pydantic's location without the names of union members, which are not in the file.

    The last step of a missing key is not in the file either, but names it.
    """
    path: list[Key] = []
    here = data
    for position, step in enumerate(loc):
        inside = (isinstance(here, Mapping) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        )
        if inside:
            here = here[step]  # type: ignore[index]  # a mapping or list, as just checked
            path.append(step)
        elif missing and position == len(loc) - 1:
            path.append(step)
    return tuple(path)


def _message(details: ErrorDetails) -> str:
    if details["type"] == "missing":
        return "missing"
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = details["input"]
    if isinstance(given, str | int | float | bool):
        text = repr(given)
        if len(text) > LONGEST_SHOWN:
            return f"{message}; here it is {len(text)} characters long"
        return f"{message}; here it is {masked_text(text)[:80]}"
    return message


def _line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    for end in range(len(path), -1, -1):
        line = lines.get(tuple(path[:end]))
        if line is not None:
            return line
    return 1


def written(path: KeyPath) -> str:
    """A key path as people write it."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
