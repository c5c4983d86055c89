"""The filter language of ListInspections: a subset of AIP-160. Pure; knows no store.

    filter     = [ comparison { "AND" comparison } ]
    comparison = field operator value
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">="
    value      = word | quoted string, with \\ before a quote or a backslash

Which operators a field takes depends on its kind: names, enumerations and booleans `=` and `!=`;
numbers and times all six. OR, NOT, parentheses and `:` are refused by name rather than misread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from lineside.daemon.values import Result, TriggerKind, Verdict

LONGEST = 2000
Value = str | int | bool | datetime


class Operator(StrEnum):
    """How a field is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`, the value in the field's own type."""

    field: str
    operator: Operator
    value: Value


class BadFilter(ValueError):
    """A filter that is not of the language; the message says where and what would be right."""


def _verdict(text: str) -> Value:
    return _named(Verdict, text.removeprefix("RESULT_EVALUATION_"))


def _trigger(text: str) -> Value:
    return _named(TriggerKind, text.removeprefix("TRIGGER_KIND_").lower())


def _named(kind: type[StrEnum], text: str) -> str:
    try:
        return kind(text)
    except ValueError:
        raise BadFilter(f"'{text}' is none of {', '.join(member.value for member in kind)}") from None


def _boolean(text: str) -> Value:
    if text not in {"true", "false"}:
        raise BadFilter(f"'{text}' is neither true nor false")
    return text == "true"


def _number(text: str) -> Value:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise BadFilter(f"'{text}' is not a whole number")
    return int(text)


def _time(text: str) -> Value:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadFilter(f"'{text}' is not a time like 2026-01-31T06:00:00Z (with its zone)") from None


@dataclass(frozen=True, slots=True)
class _Field:
    parse: Callable[[str], Value]
    of: Callable[[Result], Value]
    ordered: bool = False


FIELDS: Mapping[str, _Field] = {
    "sequence": _Field(_number, lambda r: r.sequence, ordered=True),
    "result_id": _Field(str, lambda r: r.result_id),
    "station": _Field(str, lambda r: r.draft.intake.station),
    "camera": _Field(str, lambda r: r.draft.intake.camera),
    "part_id": _Field(str, lambda r: r.draft.intake.part_id),
    "evaluation": _Field(_verdict, lambda r: r.draft.verdict),
    "trigger": _Field(_trigger, lambda r: r.draft.intake.trigger),
    "is_simulated": _Field(_boolean, lambda r: r.draft.intake.is_simulated),
    "recipe": _Field(str, lambda r: r.draft.intake.recipe.name),
    "recipe_hash": _Field(str, lambda r: r.draft.intake.recipe.hash),
    "engine_digest": _Field(str, lambda r: r.draft.engine.digest if r.draft.engine else ""),
    "trigger_time": _Field(_time, lambda r: r.draft.intake.triggered_at, ordered=True),
    "decide_time": _Field(_time, lambda r: r.draft.decided_at, ordered=True),
}

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<operator><=|>=|!=|=|<|>)
      | (?P<quoted>"(?:[^"\\]|\\["'\\])*"|'(?:[^'\\]|\\["'\\])*')
      | (?P<word>[A-Za-z0-9_][A-Za-z0-9_.:+-]*)
    )""",
    re.VERBOSE,
)


def parse(text: str) -> tuple[Comparison, ...]:
    """The comparisons of a filter, all of which must hold. Empty text: none, everything matches.

    Raises:
        BadFilter: the text is not of the language.
    """
    if len(text) > LONGEST:
        raise BadFilter(f"longer than {LONGEST} characters")
    tokens = _tokens(text)
    comparisons: list[Comparison] = []
    while tokens:
        if comparisons:
            _expect_and(tokens.pop(0))
        if len(tokens) < 3:
            raise BadFilter(f"a comparison 'field operator value' is cut short after {_said(tokens)}")
        comparisons.append(_comparison(*tokens[:3]))
        del tokens[:3]
    return tuple(comparisons)


def matches(result: Result, comparisons: tuple[Comparison, ...]) -> bool:
    """Whether all comparisons hold for a result: the meaning of the language."""
    return all(_holds(FIELDS[c.field].of(result), c.operator, c.value) for c in comparisons)


Token = tuple[str, str, int]
"""(kind, text, position); a quoted token's text is without its quotes."""


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            raise BadFilter(
                f"'{rest[:12]}' at {end - len(rest.rstrip())} is not understood: "
                "OR, NOT, parentheses, : and * are not part of it"
            )
        kind = str(match.lastgroup)
        body = match.group(kind)
        if kind == "quoted":
            body = re.sub(r"\\(.)", r"\1", body[1:-1])
        found.append((kind, body, match.start(kind)))
        at = match.end()
    return found


def _said(tokens: list[Token]) -> str:
    return " ".join(f"'{token[1]}'" for token in tokens) or "AND"


def _expect_and(token: Token) -> None:
    kind, text, position = token
    if kind != "word" or text != "AND":
        raise BadFilter(f"'{text}' at {position}: comparisons are joined by AND")


def _comparison(field: Token, operator: Token, value: Token) -> Comparison:
    if field[0] != "word" or field[1] not in FIELDS:
        raise BadFilter(f"'{field[1]}' at {field[2]} is none of the fields {', '.join(FIELDS)}")
    if operator[0] != "operator":
        raise BadFilter(f"'{operator[1]}' at {operator[2]}: an operator (= != < <= > >=) is wanted")
    if value[0] == "operator":
        raise BadFilter(f"'{value[1]}' at {value[2]}: a value is wanted")
    known = FIELDS[field[1]]
    how = Operator(operator[1])
    if not known.ordered and how not in {Operator.EQUAL, Operator.NOT_EQUAL}:
        raise BadFilter(f"{field[1]} takes = and != only")
    return Comparison(field[1], how, known.parse(value[1]))


def _holds(left: Value, operator: Operator, right: Value) -> bool:
    # The parser gives only ordered kinds an order, and both sides are of the field's own type.
    match operator:
        case Operator.EQUAL:
            return left == right
        case Operator.NOT_EQUAL:
            return left != right
        case Operator.LESS:
            return left < right  # type: ignore[operator]
        case Operator.LESS_EQUAL:
            return left <= right  # type: ignore[operator]
        case Operator.GREATER:
            return left > right  # type: ignore[operator]
        case Operator.GREATER_EQUAL:
            return left >= right  # type: ignore[operator]
