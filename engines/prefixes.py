"""What prompts share: a radix tree from the tokens of prompts to states after them, within a byte budget.

Recurrent states cannot be cut back, so a state helps only a prompt that begins with all the tokens it was
computed from; caches can, so each node holds those of its own tokens alone and shares its parents'. Tokens
come as keys: equal keys must mean equal states, so that a picture's tokens need keys of that picture's own.
Does not know what a state is, which runtime it belongs to, or what tokens mean.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]


class Sized(Protocol):
    """Something that says how much memory it holds."""

    @property
    def size_bytes(self) -> int: ...


class Cuttable(Sized, Protocol):
    """What a run of tokens left behind, token by token, so that it can be cut between two of them."""

    def split(self, at: int) -> tuple[Self, Self]:
        """What the first `at` tokens left, and the rest; neither holds on to the other's memory."""
        ...


Run = TypeVar("Run", bound=Cuttable)
State = TypeVar("State", bound=Sized)


class Node(Generic[Run, State]):
    """A place in some prompts: `length` tokens from their beginning.

    `keys` and `run`: of the tokens since `parent` alone. `state`: None where prompts part and none is kept.
    """

    __slots__ = ("children", "keys", "length", "parent", "run", "state")

    def __init__(
        self, parent: Node[Run, State] | None, keys: Keys, run: Run, state: State | None, length: int
    ) -> None:
        self.parent = parent
        self.keys = keys
        self.run = run
        self.state = state
        self.length = length
        self.children: dict[int, Node[Run, State]] = {}

    @property
    def start(self) -> int:
        """Tokens before this node's own."""
        return self.length - int(self.keys.size)

    @property
    def size_bytes(self) -> int:
        """What it holds itself."""
        held = self.keys.nbytes + self.run.size_bytes
        return held + (self.state.size_bytes if self.state is not None else 0)

    def path(self) -> list[Node[Run, State]]:
        """The nodes from the beginning to this one."""
        found: list[Node[Run, State]] = []
        node: Node[Run, State] | None = self
        while node is not None:
            found.append(node)
            node = node.parent
        return found[::-1]


class PrefixTree(Generic[Run, State]):
    """States by their tokens; the least used are thrown away first once all exceed `limit_bytes`.

    A limit of 0 keeps nothing. Otherwise the newest state stays even where it alone exceeds the limit.
    Not for several threads.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._first: dict[int, Node[Run, State]] = {}
        # By use, the least recent first. Parents are moved after their children: the first is always a leaf.
        self._by_use: OrderedDict[int, Node[Run, State]] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """What all nodes hold together."""
        return self._bytes

    def __len__(self) -> int:
        """How many states are kept."""
        return sum(node.state is not None for node in self._by_use.values())

    def deepest(self, keys: Keys, at: frozenset[int] | None = None) -> Node[Run, State] | None:
        """The longest kept state whose tokens begin `keys`; `at`: the lengths that will do, None for any."""
        path, _ = self._walk(keys)
        for node in reversed(path):
            if node.state is not None and (at is None or node.length in at):
                self._touch(node)
                return node
        return None

    def shared(self, keys: Keys) -> int:
        """How many of the first keys some kept prompt has too."""
        return self._walk(keys)[1]

    def keep(
        self, keys: Keys, run_of: Callable[[int, int], Run], state_of: Callable[[], State]
    ) -> Node[Run, State] | None:
        """Keeps the state after exactly `keys` (at least one); None where the limit allows nothing.

        `run_of(start, end)`: what tokens `start` to `end` left; asked for those that no kept prompt has.
        `state_of()`: the state after all of them.
        """
        if self._limit <= 0:
            return None
        path, shared = self._walk(keys)
        node = path[-1] if path else None
        if shared > _length(node):
            node = self._cut(self._children(node)[int(keys[_length(node)])], shared - _length(node))
        if node is None or shared < keys.size:
            node = self._add(node, keys[shared:].copy(), run_of(shared, int(keys.size)))
        self._bytes -= node.size_bytes
        node.state = state_of()
        self._bytes += node.size_bytes
        self._touch(node)
        self._shrink(node)
        return node

    def clear(self) -> None:
        """Forgets everything."""
        self._first.clear()
        self._by_use.clear()
        self._bytes = 0

    def _children(self, node: Node[Run, State] | None) -> dict[int, Node[Run, State]]:
        return self._first if node is None else node.children

    def _walk(self, keys: Keys) -> tuple[list[Node[Run, State]], int]:
        """The nodes that `keys` pass whole, and how many keys are known, which may end within a node."""
        path: list[Node[Run, State]] = []
        children, done = self._first, 0
        while done < keys.size:
            node = children.get(int(keys[done]))
            if node is None:
                break
            ahead = keys[done : done + node.keys.size]
            differ = np.flatnonzero(ahead != node.keys[: ahead.size])
            if differ.size:
                return path, done + int(differ[0])
            done += int(ahead.size)
            if ahead.size < node.keys.size:
                break
            path.append(node)
            children = node.children
        return path, done

    def _add(self, parent: Node[Run, State] | None, keys: Keys, run: Run) -> Node[Run, State]:
        node: Node[Run, State] = Node(parent, keys, run, None, _length(parent) + int(keys.size))
        self._children(parent)[int(keys[0])] = node
        self._by_use[id(node)] = node
        self._bytes += node.size_bytes
        return node

    def _cut(self, node: Node[Run, State], at: int) -> Node[Run, State]:
        """Puts a node without a state between `node`, `at` of its own tokens in, and its parent; gives it."""
        self._bytes -= node.size_bytes
        head, tail = node.run.split(at)
        above = self._add(node.parent, node.keys[:at].copy(), head)
        node.parent, node.keys, node.run = above, node.keys[at:].copy(), tail
        above.children[int(node.keys[0])] = node
        self._bytes += node.size_bytes
        return above

    def _touch(self, node: Node[Run, State]) -> None:
        for one in reversed(node.path()):
            self._by_use.move_to_end(id(one))

    def _shrink(self, newest: Node[Run, State]) -> None:
        while self._bytes > self._limit:
            oldest = next(iter(self._by_use.values()))
            if oldest is newest:
                return
            self._remove(oldest)

    def _remove(self, leaf: Node[Run, State]) -> None:
        node: Node[Run, State] | None = leaf
        # A place where prompts parted is of no use once nothing lies behind it.
        while node is not None and not node.children and (node is leaf or node.state is None):
            del self._by_use[id(node)]
            self._bytes -= node.size_bytes
            del self._children(node.parent)[int(node.keys[0])]
            node = node.parent


def _length(node: Node[Run, State] | None) -> int:
    return node.length if node is not None else 0


def in_common(one: Node[Run, State], other: Node[Run, State]) -> int:
    """How many tokens two nodes have in common by the nodes above them both."""
    common = 0
    for here, there in zip(one.path(), other.path(), strict=False):
        if here is not there:
            break
        common = here.length
    return common
