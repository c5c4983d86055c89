"""Reads prompts: starts from the longest kept state, runs what is left, and keeps what others may begin with.

Knows states, calls and the prefix tree; does not know pictures, grammars or what answers mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineside.engines.onnxruntime.cuts import Cut, Place, sealed
from lineside.engines.onnxruntime.graphs import Prefill
from lineside.engines.onnxruntime.states import (
    CacheRun,
    FixedCopy,
    Floats,
    States,
    copy_caches,
    copy_fixed,
    put_caches,
    put_fixed,
)
from lineside.engines.prefixes import Keys, Node, PrefixTree, in_common


class PromptReader:
    """Reads prompts into one engine's states. Not for several threads."""

    def __init__(self, states: States, tree: PrefixTree[CacheRun, FixedCopy]) -> None:
        self.tree = tree
        self._states = states
        # Whose tokens the caches begin with: a beginning that is still in place need not be copied back.
        self._resident: Node[CacheRun, FixedCopy] | None = None

    def read(
        self, prefill: Prefill, keys: Keys, cuts: Sequence[Cut], seen: frozenset[int] = frozenset()
    ) -> tuple[Floats, int]:
        """Logits [vocabulary] after the prompt, and how many of its tokens were kept from before.

        `keys`: what the prompt's tokens stand for; `seen`: cuts after pictures that came before this prompt.
        """
        start = self.bring(prefill, keys, cuts, seen)
        here = cuts[-1].at if cuts else 0
        return prefill.piece(here, prefill.tokens).run()[0, 0], start

    def bring(
        self, prefill: Prefill, keys: Keys, cuts: Sequence[Cut], seen: frozenset[int] = frozenset()
    ) -> int:
        """Leaves the states as they are after the last cut; gives how many tokens were kept from before."""
        keys = sealed(keys, cuts)
        node = self.tree.deepest(keys, frozenset(cut.at for cut in cuts)) if cuts else None
        self._restore(node)
        start = here = node.length if node is not None else 0
        rest = [cut for cut in cuts if cut.at > start]
        parting = self.tree.shared(keys) if any(cut.place is Place.GRID for cut in rest) else 0
        for cut in rest:
            prefill.piece(here, cut.at).run()
            here = cut.at
            if self._is_worth_keeping(cut, parting, seen):
                self._keep(keys[:here])
        return start

    def forget(self) -> None:
        """Throws all kept states away."""
        self.tree.clear()
        self._resident = None

    def _is_worth_keeping(self, cut: Cut, parting: int, seen: frozenset[int]) -> bool:
        match cut.place:
            case Place.WORDS | Place.PICTURES:
                return True
            case Place.GRID:
                # Before the piece where this prompt parts from another one: a third may part there too.
                return cut.at == parting
            case Place.PICTURE:
                # A reference comes again with each part; a part never does.
                return cut.at in seen

    def _keep(self, keys: Keys) -> None:
        states = self._states
        node = self.tree.keep(
            keys, lambda start, end: copy_caches(states, start, end), lambda: copy_fixed(states)
        )
        if node is not None:
            self._resident = node

    def _restore(self, node: Node[CacheRun, FixedCopy] | None) -> None:
        if node is None or node.state is None:
            self._states.begin()
            self._resident = None
            return
        common = in_common(self._resident, node) if self._resident is not None else 0
        for part in node.path():
            if part.length > common:
                put_caches(part.run, self._states, part.start)
        put_fixed(node.state, self._states)
        self._resident = node
