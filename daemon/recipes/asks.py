"""The questions of a recipe: what may be answered, what fails, and which rules an answer must pass.

A question that could never pass, or that names values it does not know, is refused at load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from lineside.daemon.recipes.sight import ClipOption, GoldenFile
from lineside.daemon.yamlfile import KeyPath, Strict, located, nearest

NoteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
AnswerValue = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\"\\\x00-\x1f]+$")]

PASSING_VALUE = "ok"
"""A choice that has this value and no `fail_when` fails on every other value."""

_LATER_ANSWERS = ("measure", "boxes", "object")
_LATER_RULES = ("agree", "range", "equals_region")
MES_PREFIX = "mes."


def _only_key(given: object, known: Mapping[str, str], later: tuple[str, ...], what: str) -> str:
    """The one key of a mapping like `{choice: …}`, or an error that says what is wrong with it."""
    if not isinstance(given, Mapping):
        raise located([((), f"must be one of {', '.join('{' + form + '}' for form in known.values())}")])
    key = next((str(key) for key in given if str(key) in known), None)
    if key is not None:
        return key
    first = str(next(iter(given), ""))
    if first in later:
        raise located([((first,), f"{what} '{first}' is not implemented in this version")])
    hint = nearest(first, list(known)) if first else f"known: {', '.join(known)}"
    raise located([((first,) if first else (), f"unknown {what}; {hint}")])


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise located([((), f"is not a regular expression: {error}")]) from None
    return text


Pattern = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_pattern)]


class ChoiceAnswer(Strict):
    """One of the named values."""

    choice: tuple[AnswerValue, ...] = Field(
        min_length=2, max_length=64, description="the values an answer may have"
    )

    @property
    def kind(self) -> Literal["choice"]:
        """The word results use."""
        return "choice"

    @model_validator(mode="after")
    def _distinct(self) -> ChoiceAnswer:
        for index, value in enumerate(self.choice):
            if value in self.choice[:index]:
                raise located([(("choice", index), f"'{value}' is there twice")])
        return self


class CountAnswer(Strict):
    """A whole number from the first to the second."""

    count: tuple[Annotated[int, Field(ge=0, le=9999)], Annotated[int, Field(ge=0, le=9999)]] = Field(
        description="smallest and largest number that can be answered"
    )

    @property
    def kind(self) -> Literal["count"]:
        """The word results use."""
        return "count"

    @model_validator(mode="after")
    def _ordered(self) -> CountAnswer:
        if self.count[0] >= self.count[1]:
            raise located([(("count",), f"must be smallest, largest; here it is {list(self.count)}")])
        return self


class TextAnswer(Strict):
    """A text that matches a pattern as a whole."""

    text: Pattern = Field(description="regular expression for the whole text")
    max_length: int = Field(default=64, ge=1, le=512, description="longest text in characters")

    @property
    def kind(self) -> Literal["text"]:
        """The word results use."""
        return "text"


_ANSWERS = {"choice": "choice: [ok, …]", "count": "count: [0, 9]", "text": "text: pattern"}


def _answer_key(given: object) -> str:
    if isinstance(given, ChoiceAnswer | CountAnswer | TextAnswer):
        return given.kind
    return _only_key(given, _ANSWERS, _LATER_ANSWERS, "answer kind")


def _checked_answer(given: object) -> object:
    _answer_key(given)
    return given


AnswerOption = Annotated[
    Annotated[ChoiceAnswer, Tag("choice answer")]
    | Annotated[CountAnswer, Tag("count answer")]
    | Annotated[TextAnswer, Tag("text answer")],
    Discriminator(lambda given: f"{_answer_key(given)} answer"),
    BeforeValidator(_checked_answer),  # a discriminator may not raise
]


class EqualsRule(Strict):
    """The answer equals a fixed value, or what MES sent: `mes.lot` is the value MES gave for `lot`."""

    equals: str | int = Field(description="a value, or `mes.KEY`")


class OneOfRule(Strict):
    """The answer is one of these."""

    one_of: tuple[str | int, ...] = Field(min_length=1, description="allowed values")


class PatternRule(Strict):
    """The text matches, as a whole."""

    pattern: Pattern = Field(description="regular expression for the whole text")


class CheckDigitRule(Strict):
    """The last digit (gs1, luhn) or the whole (mod97) proves that the text was read right."""

    check_digit: Literal["gs1", "luhn", "mod97"] = Field(
        description="the scheme; letters do not count for gs1 and luhn"
    )


_RULES = {
    "equals": "equals: value",
    "one_of": "one_of: [value, …]",
    "pattern": "pattern: regex",
    "check_digit": "check_digit: gs1",
}

Rule = EqualsRule | OneOfRule | PatternRule | CheckDigitRule


def _rule_key(given: object) -> str:
    match given:
        case EqualsRule():
            return "equals"
        case OneOfRule():
            return "one_of"
        case PatternRule():
            return "pattern"
        case CheckDigitRule():
            return "check_digit"
        case _:
            return _only_key(given, _RULES, _LATER_RULES, "rule")


def _checked_rule(given: object) -> object:
    _rule_key(given)
    return given


RuleOption = Annotated[
    Annotated[EqualsRule, Tag("equals rule")]
    | Annotated[OneOfRule, Tag("one_of rule")]
    | Annotated[PatternRule, Tag("pattern rule")]
    | Annotated[CheckDigitRule, Tag("check_digit rule")],
    Discriminator(lambda given: f"{_rule_key(given)} rule"),
    BeforeValidator(_checked_rule),
]


class Expect(Strict):
    """The count a good part has; exactly one of the two."""

    equals: int | Annotated[str, Field(pattern=r"^mes\..+")] | None = Field(
        default=None, description="this number, or `mes.KEY`: the number MES sent"
    )
    between: tuple[int, int] | None = Field(
        default=None, description="from the first to the second, both included"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Expect:
        if (self.equals is None) == (self.between is None):
            raise located([((), "give either equals or between")])
        if self.between is not None and self.between[0] > self.between[1]:
            raise located([(("between",), f"must be smallest, largest; here it is {list(self.between)}")])
        return self


class Ask(Strict):
    """One question about one place, several places, or a place over time."""

    id: NoteName = Field(description="names the question in results")
    region: NoteName | None = Field(
        default=None, description="where to look; null: the whole frame, or the whole part"
    )
    regions: tuple[NoteName, ...] = Field(
        default=(),
        max_length=8,
        description="several places for one question, in this order; instead of region",
    )
    golden: GoldenFile | None = Field(
        default=None, description="how it should look: a picture shown before the part's; null: none"
    )
    clip: ClipOption | None = Field(
        default=None, description="the place over the last seconds, as one video; null: one picture"
    )
    question: str = Field(min_length=1, max_length=2000, description="what the engine is asked")
    answer: AnswerOption = Field(description="`{choice: […]}`, `{count: [min, max]}` or `{text: pattern}`")
    fail_when: tuple[str, ...] | None = Field(
        default=None, description="choice only: the bad values; null: every value but `ok`"
    )
    expect: Expect | None = Field(
        default=None, description="count only, required there: the count of a good part"
    )
    rules: tuple[RuleOption, ...] = Field(
        default=(), description="what else must hold; a rule that fails is NOT_OK"
    )
    min_confidence: float = Field(
        default=0.9, ge=0.5, le=1, description="an answer less sure than this is NOT_DECIDABLE"
    )

    @model_validator(mode="after")
    def _can_pass_and_fail(self) -> Ask:
        problems = [
            *self._about_sight(),
            *self._about_choice(),
            *self._about_count(),
            *self._about_rules(),
        ]
        if problems:
            raise located(problems)
        return self

    @property
    def places(self) -> tuple[str | None, ...]:
        """The regions it looks at; None stands for the whole frame or part."""
        return self.regions or (self.region,)

    def _about_sight(self) -> list[tuple[KeyPath, str]]:
        if not self.regions:
            return []
        problems: list[tuple[KeyPath, str]] = [
            (("regions", index), f"'{name}' is there twice")
            for index, name in enumerate(self.regions)
            if name in self.regions[:index]
        ]
        if self.region is not None:
            problems.append((("regions",), "give either region or regions"))
        if len(self.regions) == 1:
            problems.append((("regions",), f"is one place only: write `region: {self.regions[0]}`"))
        if self.clip is not None:
            problems.append((("clip",), "is of one place: give region instead of regions"))
        return problems

    def _about_choice(self) -> list[tuple[KeyPath, str]]:
        if not isinstance(self.answer, ChoiceAnswer):
            return [] if self.fail_when is None else [(("fail_when",), "only a choice has bad values")]
        values = self.answer.choice
        if self.fail_when is None:
            if PASSING_VALUE in values:
                return []
            return [((), f"fail_when is missing: no value is '{PASSING_VALUE}', so say which values are bad")]
        problems: list[tuple[KeyPath, str]] = [
            (("fail_when", index), f"'{value}' is not one of the answer's values; {nearest(value, values)}")
            for index, value in enumerate(self.fail_when)
            if value not in values
        ]
        if set(values) <= set(self.fail_when):
            problems.append((("fail_when",), "holds every value: no part could pass"))
        return problems

    def _about_count(self) -> list[tuple[KeyPath, str]]:
        if not isinstance(self.answer, CountAnswer):
            return [] if self.expect is None else [(("expect",), "only a count has an expected number")]
        if self.expect is None:
            return [((), "expect is missing: say what a good part counts, as in `expect: {equals: 6}`")]
        smallest, largest = self.answer.count
        low, high = self.expect.between or (self.expect.equals, self.expect.equals)
        if isinstance(low, int) and isinstance(high, int) and (high < smallest or low > largest):
            return [
                (
                    ("expect",),
                    f"lies outside of what can be answered, {smallest} to {largest}: no part could pass",
                )
            ]
        return []

    def _about_rules(self) -> list[tuple[KeyPath, str]]:
        if isinstance(self.answer, TextAnswer):
            return []
        return [
            (("rules", index), f"{_rule_key(rule)} checks texts, and this answer is a {self.answer.kind}")
            for index, rule in enumerate(self.rules)
            if isinstance(rule, PatternRule | CheckDigitRule)
        ]

    @property
    def bad_values(self) -> frozenset[str]:
        """The values of a choice that make a part NOT_OK; empty for other answers."""
        if not isinstance(self.answer, ChoiceAnswer):
            return frozenset()
        if self.fail_when is not None:
            return frozenset(self.fail_when)
        return frozenset(self.answer.choice) - {PASSING_VALUE}
