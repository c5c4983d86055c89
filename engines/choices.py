"""Every allowed answer of a choice or a count, scored exactly: a trie over their tokens.

The distribution is the model's own under the grammar: at each place where allowed answers part, the logits of
the tokens that lead on are renormalised; an answer's probability is the product along its way. Knows token
ids and logits; does not know models, states or tokenizers beyond a function from text to ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineside.engines.base import Choice, Count
from lineside.engines.errors import BadQuestion

MAX_VALUES = 10_000


def allowed_values(grammar: Choice | Count) -> tuple[str | int, ...]:
    """The values a choice or count may take, in order.

    Raises:
        BadQuestion: none, too many, or one twice.
    """
    if isinstance(grammar, Choice):
        if not grammar.values:
            raise BadQuestion("a choice needs at least one allowed value")
        if len(set(grammar.values)) != len(grammar.values):
            raise BadQuestion("a choice names a value twice")
        if len(grammar.values) > MAX_VALUES:
            raise BadQuestion(f"a choice of more than {MAX_VALUES} values is refused: ask for a text")
        return grammar.values
    if grammar.maximum < grammar.minimum:
        raise BadQuestion(f"a count from {grammar.minimum} to {grammar.maximum} allows nothing")
    if grammar.maximum - grammar.minimum >= MAX_VALUES:
        raise BadQuestion(f"a count over more than {MAX_VALUES} values is refused: ask for a text")
    return tuple(range(grammar.minimum, grammar.maximum + 1))


def answer_json(value: str | int) -> str:
    """The canonical answer: `{"answer":"cracked"}`, `{"answer":5}`."""
    return json.dumps({"answer": value}, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Branch:
    """A place where answers part. `path`: tokens from the end of the trie's `forced` run to here.

    `tokens`: the tokens that lead on; `values[i]`: indices of the values that lie behind `tokens[i]`.
    """

    path: tuple[int, ...]
    tokens: NDArray[np.int64]
    values: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class AnswerTrie:
    """`sequences[i]`: the tokens of value i. `forced`: what all begin with. `branches`: the root first."""

    sequences: tuple[tuple[int, ...], ...]
    forced: tuple[int, ...]
    branches: tuple[Branch, ...]


def build_trie(values: Sequence[str | int], encode: Callable[[str], Sequence[int]]) -> AnswerTrie:
    """The trie of the canonical answers, as the tokenizer (`encode`) writes them.

    Raises:
        BadQuestion: the tokenizer writes two answers alike.
    """
    sequences = tuple(tuple(encode(answer_json(value))) for value in values)
    if len(set(sequences)) != len(sequences):
        raise BadQuestion("this engine's tokenizer cannot tell two of the allowed values apart")
    forced = _common(sequences, range(len(sequences)), 0)
    branches: list[Branch] = []
    waiting = [(forced, tuple(range(len(sequences))))]
    while waiting:
        begin, members = waiting.pop(0)
        if len(members) == 1:
            continue
        groups: dict[int, list[int]] = {}
        for member in members:
            # An answer ends in `}` and so is never the beginning of another: there is a next token.
            groups.setdefault(sequences[member][len(begin)], []).append(member)
        branches.append(
            Branch(
                begin[len(forced) :],
                np.array(list(groups), np.int64),
                tuple(tuple(group) for group in groups.values()),
            )
        )
        for group in groups.values():
            waiting.append((_common(sequences, group, len(begin)), tuple(group)))
    return AnswerTrie(sequences, forced, tuple(branches))


def _common(sequences: Sequence[tuple[int, ...]], members: Sequence[int], at_least: int) -> tuple[int, ...]:
    first = sequences[members[0]]
    length = at_least
    while all(len(sequences[m]) > length and sequences[m][length] == first[length] for m in members):
        length += 1
        if length == len(first):
            break
    return first[:length]


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """Tokens to run after `forced` in one row of a batch; the logits of `reads` are wanted.

    `reads`: (branch index, how many of the row's tokens come before the branch); at least one each.
    """

    tokens: tuple[int, ...]
    reads: tuple[tuple[int, int], ...]


def rows_to_score(trie: AnswerTrie) -> tuple[ScoreRow, ...]:
    """The fewest rows whose tokens pass every branch but the root (whose logits the prefill gives)."""
    deep = sorted(
        ((branch.path, index) for index, branch in enumerate(trie.branches) if branch.path),
        key=lambda item: -len(item[0]),
    )
    rows: list[tuple[tuple[int, ...], list[tuple[int, int]]]] = []
    for path, index in deep:
        for tokens, reads in rows:
            if tokens[: len(path)] == path:
                reads.append((index, len(path)))
                break
        else:
            rows.append((path, [(index, len(path))]))
    return tuple(ScoreRow(tokens, tuple(reads)) for tokens, reads in rows)


def renormalised(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax over the logits of the allowed tokens alone."""
    wide = logits.astype(np.float64)
    powers: NDArray[np.float64] = np.exp(wide - wide.max())
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


def value_probabilities(trie: AnswerTrie, shares: Mapping[int, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Each value's probability [values] from each branch's shares [tokens]; they sum to one."""
    probabilities = np.ones(len(trie.sequences), np.float64)
    for index, branch in enumerate(trie.branches):
        for share, members in zip(shares[index], branch.values, strict=True):
            probabilities[list(members)] *= share
    return probabilities
