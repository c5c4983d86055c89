"""One question's answer against its rules and its expected count. Pure; each check can only object.

An objection is either clear (the part is bad) or says that nobody can tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lineside.daemon.recipes.asks import (
    MES_PREFIX,
    Ask,
    CheckDigitRule,
    EqualsRule,
    Expect,
    OneOfRule,
    PatternRule,
    Rule,
)
from lineside.daemon.rules.check_digits import SCHEMES


@dataclass(frozen=True, slots=True)
class Objection:
    """Why an answer does not pass. `decided` False: the rule itself could not be checked."""

    message: str
    decided: bool = True


def broken_rules(ask: Ask, value: str | int, expected: Mapping[str, str]) -> list[Objection]:
    """Every rule of the question that `value` does not pass. `expected`: what MES sent, by key."""
    checked = [_broken(rule, value, expected) for rule in ask.rules]
    if ask.expect is not None:
        checked.append(_unexpected(ask.expect, value, expected))
    return [objection for objection in checked if objection is not None]


def _broken(rule: Rule, value: str | int, expected: Mapping[str, str]) -> Objection | None:
    match rule:
        case EqualsRule(equals=wanted):
            return _differs(wanted, value, expected)
        case OneOfRule(one_of=allowed):
            if str(value) in {str(one) for one in allowed}:
                return None
            return Objection(f"'{value}' is not one of {', '.join(str(one) for one in allowed)}")
        case PatternRule(pattern=pattern):
            return (
                None
                if re.fullmatch(pattern, str(value))
                else Objection(f"'{value}' does not match {pattern}")
            )
        case CheckDigitRule(check_digit=scheme):
            return (
                None
                if SCHEMES[scheme](str(value))
                else Objection(f"'{value}' has a wrong {scheme} check digit")
            )


def _differs(wanted: str | int, value: str | int, expected: Mapping[str, str]) -> Objection | None:
    if isinstance(wanted, str) and wanted.startswith(MES_PREFIX):
        key = wanted.removeprefix(MES_PREFIX)
        if key not in expected:
            return Objection(f"MES sent no {key} to compare with", decided=False)
        wanted = expected[key]
    return None if str(value) == str(wanted) else Objection(f"it is '{value}', expected is '{wanted}'")


def _unexpected(expect: Expect, value: str | int, expected: Mapping[str, str]) -> Objection | None:
    if expect.equals is not None:
        return _differs(expect.equals, value, expected)
    assert expect.between is not None, "a recipe's expect holds one of the two"
    low, high = expect.between
    if isinstance(value, int) and low <= value <= high:
        return None
    return Objection(f"it is {value}, expected is {low} to {high}")
