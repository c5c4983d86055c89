"""Choices and counts: the trie of answers gives the model's own distribution under the grammar."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lineside.engines.base import Choice, Count
from lineside.engines.choices import (
    allowed_values,
    answer_json,
    build_trie,
    renormalised,
    rows_to_score,
    value_probabilities,
)
from lineside.engines.errors import BadQuestion


def letters(text: str) -> list[int]:
    """A tokenizer of one token a character."""
    return [ord(character) for character in text]


def test_one_token_values_part_at_once_and_need_no_further_run(tokenizer: Tokenizer) -> None:
    trie = build_trie(
        ("ok", "missing", "tilted"), lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    )
    assert len(trie.branches) == 1
    assert trie.branches[0].path == ()
    assert rows_to_score(trie) == ()
    assert tokenizer.decode(list(trie.forced)).startswith('{"answer":')


def test_a_count_that_begins_like_another_parts_at_the_closing_brace() -> None:
    trie = build_trie((1, 10, 11, 2), letters)
    assert trie.forced == tuple(letters('{"answer":'))
    root, after_one, after_ten = trie.branches[0], trie.branches[1], trie.branches[2:]
    assert [chr(token) for token in root.tokens] == ["1", "2"]
    assert after_one.path == (ord("1"),)
    assert [chr(token) for token in after_one.tokens] == ["}", "0", "1"]
    assert after_ten == ()
    assert [row.tokens for row in rows_to_score(trie)] == [(ord("1"),)]


def test_a_single_value_is_certain_without_asking() -> None:
    trie = build_trie(("ok",), letters)
    assert trie.branches == ()
    assert trie.forced == trie.sequences[0]
    assert value_probabilities(trie, {}).tolist() == [1.0]


@given(
    st.lists(st.text("ab1", min_size=1, max_size=6), min_size=1, max_size=12, unique=True),
    st.integers(0, 999),
)
def test_probabilities_are_the_product_along_each_answer_and_sum_to_one(values: list[str], seed: int) -> None:
    trie = build_trie(values, letters)
    generator = np.random.default_rng(seed)
    shares = {
        index: renormalised(generator.normal(size=branch.tokens.size).astype(np.float32))
        for index, branch in enumerate(trie.branches)
    }
    found = value_probabilities(trie, shares)
    assert found.sum() == pytest.approx(1)
    for value, sequence, probability in zip(values, trie.sequences, found, strict=True):
        assert sequence == tuple(letters(answer_json(value)))
        product = 1.0
        for index, branch in enumerate(trie.branches):
            at = len(trie.forced) + len(branch.path)
            if sequence[len(trie.forced) : at] == branch.path and at < len(sequence):
                product *= shares[index][branch.tokens.tolist().index(sequence[at])]
        assert probability == pytest.approx(product)


@given(st.lists(st.text("ab", min_size=1, max_size=5), min_size=2, max_size=10, unique=True))
def test_every_branch_but_the_root_is_read_once_where_its_path_ends(values: list[str]) -> None:
    trie = build_trie(values, letters)
    reads = [(index, row.tokens[:length]) for row in rows_to_score(trie) for index, length in row.reads]
    assert sorted(reads) == [(i, branch.path) for i, branch in enumerate(trie.branches) if branch.path]


@pytest.mark.parametrize(
    ("grammar", "says"),
    [
        (Choice(()), "at least one"),
        (Choice(("a", "a")), "twice"),
        (Count(3, 2), "allows nothing"),
        (Count(0, 10_000), "10000"),
        (Choice(tuple(str(i) for i in range(10_001))), "10000"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(grammar: Choice | Count, says: str) -> None:
    with pytest.raises(BadQuestion, match=says):
        allowed_values(grammar)


def test_values_the_tokenizer_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(BadQuestion, match="apart"):
        build_trie(("a", "b"), lambda _text: [1, 2])


def test_the_canonical_answer_has_no_spaces_and_keeps_its_letters() -> None:
    assert [answer_json(value) for value in ("schön", 'a"b', -3)] == [
        '{"answer":"schön"}',
        r'{"answer":"a\"b"}',
        '{"answer":-3}',
    ]


def test_negative_counts_are_counts() -> None:
    assert allowed_values(Count(-2, 1)) == (-2, -1, 0, 1)
