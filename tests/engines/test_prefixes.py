"""The prefix tree against a plain model of it: what it finds, what it holds, and what it forgets first."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lineside.engines.prefixes import PrefixTree, in_common

STATE_BYTES = 1000


@dataclass
class Tokens:
    """A run that remembers which tokens it stands for."""

    tokens: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return 10 * len(self.tokens)

    def split(self, at: int) -> tuple[Tokens, Tokens]:
        return Tokens(self.tokens[:at]), Tokens(self.tokens[at:])


@dataclass
class Total:
    """A state that remembers everything before it."""

    tokens: tuple[int, ...]
    size_bytes: int = STATE_BYTES


@dataclass
class Asked:
    """Keeps prompts in a tree and writes down which runs the tree asked for."""

    tree: PrefixTree[Tokens, Total]
    runs: list[tuple[int, int]] = field(default_factory=list)

    def keep(self, *tokens: int) -> None:
        def run_of(start: int, end: int) -> Tokens:
            self.runs.append((start, end))
            return Tokens(tokens[start:end])

        self.tree.keep(np.array(tokens), run_of, lambda: Total(tokens))

    def found(self, *tokens: int, at: frozenset[int] | None = None) -> tuple[int, ...] | None:
        node = self.tree.deepest(np.array(tokens), at)
        return node.state.tokens if node is not None and node.state is not None else None


@pytest.fixture
def asked() -> Asked:
    return Asked(PrefixTree(10**6))


def test_the_longest_state_that_begins_a_prompt_is_found(asked: Asked) -> None:
    asked.keep(1, 2)
    asked.keep(1, 2, 3, 4)
    assert asked.found(1, 2, 3, 4, 5) == (1, 2, 3, 4)
    assert asked.found(1, 2, 3) == (1, 2)
    assert asked.found(1) is None
    assert asked.found(2, 1) is None


def test_only_states_at_the_wanted_lengths_are_found(asked: Asked) -> None:
    asked.keep(1, 2)
    asked.keep(1, 2, 3, 4)
    assert asked.found(1, 2, 3, 4, at=frozenset({2, 3})) == (1, 2)
    assert asked.found(1, 2, 3, 4, at=frozenset({3})) is None


def test_tokens_that_are_known_are_not_copied_again(asked: Asked) -> None:
    asked.keep(1, 2, 3, 4)
    asked.keep(1, 2, 3, 4, 5)
    asked.keep(1, 2, 9)
    asked.keep(1, 2, 3)
    assert asked.runs == [(0, 4), (4, 5), (2, 3)]


def test_what_is_shared_may_end_within_a_kept_prompt(asked: Asked) -> None:
    asked.keep(1, 2, 3, 4)
    for tokens, shared in (((1, 2, 9), 2), ((1, 2, 3, 4, 5), 4), ((9,), 0), ((1, 2), 2)):
        assert asked.tree.shared(np.array(tokens)) == shared
    assert asked.found(1, 2) is None  # known, but no state was kept there


def test_nodes_know_what_they_have_in_common(asked: Asked) -> None:
    for tokens in ((1, 2, 3, 4), (1, 2, 9), (1, 2, 3, 4, 5), (7,)):
        asked.keep(*tokens)
    first, parted, longer, other = (
        asked.tree.deepest(np.array(t)) for t in ((1, 2, 3, 4), (1, 2, 9), (1, 2, 3, 4, 5), (7,))
    )
    assert first is not None
    assert parted is not None
    assert longer is not None
    assert other is not None
    assert in_common(first, parted) == 2
    assert in_common(first, longer) == 4
    assert in_common(first, first) == 4
    assert in_common(first, other) == 0


def test_the_least_used_goes_first_and_a_beginning_outlives_what_follows_it() -> None:
    asked = Asked(PrefixTree(3 * STATE_BYTES + 300))
    asked.keep(1, 2)
    asked.keep(1, 2, 3)
    asked.keep(1, 2, 4)
    assert asked.found(1, 2, 3) == (1, 2, 3)
    asked.keep(1, 2, 5)
    assert asked.found(1, 2, 4) == (1, 2)
    assert asked.found(1, 2, 3) == (1, 2, 3)
    assert asked.found(1, 2, 5) == (1, 2, 5)


def test_a_limit_of_nothing_keeps_nothing_and_the_newest_always_stays() -> None:
    nothing = Asked(PrefixTree(0))
    nothing.keep(1, 2)
    assert (nothing.found(1, 2), len(nothing.tree), nothing.tree.size_bytes) == (None, 0, 0)
    little = Asked(PrefixTree(1))
    little.keep(1, 2)
    little.keep(3, 4)
    assert (little.found(1, 2), little.found(3, 4)) == (None, (3, 4))


def test_clearing_forgets_everything(asked: Asked) -> None:
    asked.keep(1, 2)
    asked.tree.clear()
    assert (asked.found(1, 2), len(asked.tree), asked.tree.size_bytes) == (None, 0, 0)


PROMPTS = st.lists(st.integers(0, 2), min_size=1, max_size=7).map(tuple)


class TreeAgainstModel(RuleBasedStateMachine):
    """The model is a dictionary of all prompts kept; the tree may have forgotten some, and invents none."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[int, ...], None] = {}
        self.limit = 6 * STATE_BYTES
        self.asked = Asked(PrefixTree(self.limit))

    @rule(tokens=PROMPTS)
    def keep(self, tokens: tuple[int, ...]) -> None:
        self.asked.keep(*tokens)
        self.kept[tokens] = None
        assert self.asked.found(*tokens) == tokens

    @rule(tokens=PROMPTS)
    def find(self, tokens: tuple[int, ...]) -> None:
        found = self.asked.found(*tokens)
        assert found is None or (found in self.kept and tokens[: len(found)] == found)
        node = self.asked.tree.deepest(np.array(tokens))
        if node is not None:
            # Its runs, put together, are the tokens themselves, however often they were cut.
            assert sum((part.run.tokens for part in node.path()), ()) == found

    @precondition(lambda self: len(self.kept) <= 3)
    @rule(tokens=PROMPTS)
    def nothing_is_forgotten_within_the_limit(self, tokens: tuple[int, ...]) -> None:
        begins = [one for one in self.kept if tokens[: len(one)] == one]
        assert self.asked.found(*tokens) == (max(begins, key=len) if begins else None)

    @invariant()
    def the_books_are_right(self) -> None:
        tree = self.asked.tree
        nodes = list(tree._by_use.values())
        assert tree.size_bytes == sum(node.size_bytes for node in nodes)
        assert tree.size_bytes <= self.limit
        assert all(node.state is not None or node.children for node in nodes)
        order = {id(node): place for place, node in enumerate(nodes)}
        assert all(order[id(child)] < order[id(node)] for node in nodes for child in node.children.values())


TestTreeAgainstModel = TreeAgainstModel.TestCase
