"""Patterns and schemas as matchers: forced runs, whole-string patterns, and an end to everything."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lineside.engines.base import Schema, Text
from lineside.engines.errors import BadQuestion, UndecodableAnswer
from lineside.engines.grammar import GrammarCompiler, anchored, bounded


@pytest.fixture(scope="module")
def compiler(tokenizer: Tokenizer) -> GrammarCompiler:
    end = tokenizer.token_to_id("<|im_end|>")
    return GrammarCompiler(tokenizer.to_str(), tokenizer.get_vocab_size() + 24, (end,))


def written(compiler: GrammarCompiler, grammar: Text | Schema, tokenizer: Tokenizer, seed: int) -> str:
    """An answer of random decisions."""
    generator = np.random.default_rng(seed)
    matcher = compiler.compile(grammar).start()
    tokens = matcher.forced()
    while not matcher.finished():
        allowed = matcher.allowed()
        ends = [token for token in allowed if token == tokenizer.token_to_id("<|im_end|>")]
        token = int(ends[0] if ends else generator.choice(allowed))
        matcher.take(token)
        tokens += [] if ends else [token]
        tokens += matcher.forced()
        assert len(tokens) < 4000
    return str(tokenizer.decode(tokens))


def test_the_skeleton_is_forced_and_only_the_text_is_decided(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    matcher = compiler.compile(Text("K[0-9]{2}", 8)).start()
    run = matcher.forced()
    assert '{"answer":"K'.startswith(tokenizer.decode(run))
    for digit in "48":
        while digit not in [tokenizer.id_to_token(token) for token in matcher.allowed()]:
            matcher.take(int(matcher.allowed()[0]))
        matcher.take(tokenizer.token_to_id(digit))
    matcher.forced()
    assert matcher.finished()


@pytest.mark.parametrize(
    "pattern", ["K[0-9]{5}", "^K[0-9]{5}$", "^K[0-9]+", "[A-C]|x+$", '["\\\\]{2}', r"a\$"]
)
def test_whatever_is_decided_the_whole_text_matches(
    compiler: GrammarCompiler, tokenizer: Tokenizer, pattern: str
) -> None:
    for seed in range(5):
        text = written(compiler, Text(pattern, 12), tokenizer, seed)
        answer = json.loads(text)["answer"]
        assert re.fullmatch(anchored(pattern), answer)
        assert len(answer) <= 12
        assert text == json.dumps({"answer": answer}, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(
    ("pattern", "becomes"),
    [
        ("a", "^(?:a)$"),
        ("^a$", "^(?:a)$"),
        ("a|b", "^(?:a|b)$"),
        (r"a\$", r"^(?:a\$)$"),
        (r"a\\$", r"^(?:a\\)$"),
    ],
)
def test_patterns_are_anchored(pattern: str, becomes: str) -> None:
    assert anchored(pattern) == becomes


def test_schemas_are_bounded_without_touching_names_and_constants() -> None:
    schema = {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "pattern": "x"},
            "marks": {"type": "array", "items": {"type": ["string", "null"]}},
            "kind": {"enum": [{"type": "string"}]},
        },
    }
    assert bounded(schema) == {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "pattern": "^(?:x)$", "maxLength": 256},
            "marks": {
                "type": "array",
                "items": {"type": ["string", "null"], "maxLength": 256},
                "maxItems": 64,
            },
            "kind": {"enum": [{"type": "string"}]},
        },
    }


@pytest.mark.parametrize("seed", range(3))
def test_a_schema_of_ones_own_comes_to_an_end(
    compiler: GrammarCompiler, tokenizer: Tokenizer, seed: int
) -> None:
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "at": {"type": "array", "items": {"type": "boolean"}}},
        "required": ["text", "at"],
        "additionalProperties": False,
    }
    found = json.loads(written(compiler, Schema(schema), tokenizer, seed), strict=False)
    assert set(found) == {"text", "at"}
    assert len(found["text"]) <= 256
    assert len(found["at"]) <= 64


@pytest.mark.parametrize(
    "grammar",
    [
        Text("[a-", 8),
        Text("a", 0),
        Text(r"(a)\1", 8),
        Schema({"type": "no such type"}),
        Schema({"properties": {"a": {"minLength": object()}}}),
    ],
)
def test_what_cannot_be_compiled_is_refused(compiler: GrammarCompiler, grammar: Text | Schema) -> None:
    with pytest.raises(BadQuestion):
        compiler.compile(grammar)


def test_a_token_against_the_grammar_is_an_error_not_an_answer(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    matcher = compiler.compile(Text("K", 8)).start()
    with pytest.raises(UndecodableAnswer):
        matcher.take(tokenizer.token_to_id("Z"))


def test_answers_do_not_disturb_each_other(compiler: GrammarCompiler) -> None:
    constraint = compiler.compile(Text("[A-Z]{3}", 8))
    first, second = constraint.start(), constraint.start()
    run = first.forced()
    first.take(int(first.allowed()[0]))
    assert second.forced() == run


def test_padding_beyond_the_tokenizer_is_never_allowed(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    matcher = compiler.compile(Text(".{1,40}", 40)).start()
    matcher.forced()
    assert matcher.allowed().max() < tokenizer.get_vocab_size()


def test_whole_answers_are_recognised(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    constraint = compiler.compile(Text("K[0-9]", 8))
    for text, whole in (('{"answer":"K4"}', True), ('{"answer":"K4', False), ('{"answer":"44"}', False)):
        assert constraint.accepts(tokenizer.encode(text, add_special_tokens=False).ids) is whole


@given(st.text("ab$\\^", max_size=8))
def test_anchoring_twice_changes_nothing_that_matches(pattern: str) -> None:
    try:
        once = re.compile(anchored(pattern))
    except re.error:
        return
    twice = re.compile(anchored(anchored(pattern)))
    for text in ("", "a", "ab", "a$", "^a"):
        assert bool(once.fullmatch(text)) == bool(twice.fullmatch(text))
