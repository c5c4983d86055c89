"""Constrained text: a pattern or a JSON Schema as a matcher over token ids, with its forced runs.

Knows llguidance and token ids; does not know models. Everything is bounded: strings, arrays and patterns end,
patterns match the whole string, and no white space is left to the model's taste.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from lineside.engines.base import Language, Schema, Text
from lineside.engines.errors import BadQuestion, UndecodableAnswer

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

MAX_STRING = 256
MAX_ITEMS = 64
_OPTIONS: JsonCompileOptions = {"whitespace_flexible": False}


def anchored(pattern: str) -> str:
    """The pattern so that it matches the whole string: JSON Schema alone would let text run on around it."""
    body = pattern.removeprefix("^")
    if body.endswith("$"):
        backslashes = len(body[:-1]) - len(body[:-1].rstrip("\\"))
        if backslashes % 2 == 0:
            body = body[:-1]
    return f"^(?:{body})$"


def text_schema(grammar: Text) -> dict[str, object]:
    """The JSON Schema of `{"answer":"…"}` for a text."""
    if grammar.max_length < 1:
        raise BadQuestion("a text needs a max_length of at least 1")
    answer = {"type": "string", "pattern": anchored(grammar.pattern), "maxLength": grammar.max_length}
    return {
        "type": "object",
        "properties": {"answer": answer},
        "required": ["answer"],
        "additionalProperties": False,
    }


def bounded(schema: object) -> object:
    """A copy of a JSON Schema in which every string and array has an end and patterns match whole strings."""
    if isinstance(schema, list | tuple):
        return [bounded(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    limited: dict[str, object] = {}
    for key, value in schema.items():
        if key == "pattern" and isinstance(value, str):
            limited[key] = anchored(value)
        elif key in ("const", "enum", "default", "examples", "required"):
            limited[key] = value
        elif key in ("properties", "$defs", "definitions", "patternProperties") and isinstance(
            value, Mapping
        ):
            # Its keys are names, which may be called "pattern" or "type" themselves.
            limited[key] = {name: bounded(part) for name, part in value.items()}
        else:
            limited[key] = bounded(value)
    kinds = schema.get("type")
    named = kinds if isinstance(kinds, list | tuple) else [kinds]
    if "string" in named or "pattern" in schema:
        limited.setdefault("maxLength", MAX_STRING)
    if "array" in named or "items" in schema:
        limited.setdefault("maxItems", MAX_ITEMS)
    return limited


class Matcher:
    """One answer's way through a grammar. Not for several threads."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def forced(self) -> list[int]:
        """Takes the tokens that the grammar leaves no choice about, and gives them."""
        run = self._matcher.compute_ff_tokens()
        if run and not self._matcher.consume_tokens(run):
            raise UndecodableAnswer(f"the grammar broke off: {_first_line(self._matcher)}")
        return list(run)

    def run_up(self) -> list[int]:
        """Takes all tokens up to the next place with a choice, or to the end, and gives them.

        More than `forced`: also a token that is alone in being allowed.
        """
        taken = self.forced()
        while not self.finished():
            allowed = self.allowed()
            if allowed.size != 1 or self.complete():
                break
            self.take(int(allowed[0]))
            taken += [int(allowed[0]), *self.forced()]
        return taken

    def allowed(self) -> NDArray[np.int64]:
        """The token ids that may come next, ascending."""
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.is_error():
            raise UndecodableAnswer(f"the grammar broke off: {_first_line(self._matcher)}")
        return np.flatnonzero(np.unpackbits(mask, bitorder="little"))

    def take(self, token: int) -> None:
        """Goes on with a token of `allowed`."""
        if not self._matcher.consume_token(token):
            raise UndecodableAnswer(f"the grammar broke off: {_first_line(self._matcher)}")

    def finished(self) -> bool:
        """Whether the answer is complete and nothing may follow."""
        return bool(self._matcher.is_stopped() and not self._matcher.is_error())

    def complete(self) -> bool:
        """Whether the answer may end here."""
        return bool(self._matcher.is_accepting())


class Constraint:
    """A compiled grammar: gives a fresh matcher an answer."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def start(self) -> Matcher:
        """A matcher at the beginning of an answer."""
        return Matcher(self._matcher.deep_copy())

    def accepts(self, tokens: list[int]) -> bool:
        """Whether the tokens are a whole answer."""
        trial = self._matcher.deep_copy()
        return (
            trial.validate_tokens(tokens) == len(tokens)
            and trial.consume_tokens(tokens)
            and trial.is_accepting()
        )


class GrammarCompiler:
    """Compiles grammars for one tokenizer."""

    def __init__(self, tokenizer_json: str, vocabulary: int, end_tokens: tuple[int, ...]) -> None:
        """`vocabulary`: how many logits the model gives, at least as many as there are tokens."""
        self._tokenizer = LLTokenizer(tokenizer_json, n_vocab=vocabulary, eos_token=list(end_tokens))

    def compile(self, grammar: Text | Schema | Language) -> Constraint:
        """
        Raises:
            BadQuestion: the pattern or schema is broken or uses what is not implemented; says what.
        """
        source = _source(grammar)
        message = LLMatcher.validate_grammar(source, self._tokenizer)
        if message and not message.startswith("WARNING"):
            raise BadQuestion(f"the answer's grammar cannot be used: {message.splitlines()[0]}")
        matcher = LLMatcher(self._tokenizer, source, log_level=0)
        if matcher.is_error():
            raise BadQuestion(f"the answer's grammar cannot be used: {_first_line(matcher)}")
        return Constraint(matcher)


def _source(grammar: Text | Schema | Language) -> str:
    if isinstance(grammar, Language):
        if grammar.syntax == "regex":
            return LLMatcher.grammar_from_regex(grammar.source)
        return LLMatcher.grammar_from_lark(grammar.source)
    schema = text_schema(grammar) if isinstance(grammar, Text) else bounded(grammar.schema)
    try:
        return LLMatcher.grammar_from_json_schema(json.dumps(schema), _OPTIONS)
    except (TypeError, ValueError) as error:
        raise BadQuestion(f"the schema is not JSON: {error}") from error


def _first_line(matcher: LLMatcher) -> str:
    lines = str(matcher.get_error()).splitlines()
    return lines[0] if lines else "no reason given"
