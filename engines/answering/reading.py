"""Reads prompts: starts from the longest kept state, runs what is left, and keeps what others may begin with.

Knows states, calls and the prefix tree; does not know pictures, grammars or what answers mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineside.engines.answering.cuts import Cut, Place, sealed
from lineside.engines.answering.prefill import Prefill
from lineside.engines.answering.runtime import Floats, States
from lineside.engines.prefixes import Cuttable, Keys, Node, PrefixTree, Sized, in_common


class PromptReader:
    """Reads prompts into one engine's states. Not for several threads."""

    def __init__(self, states: States, tree: PrefixTree[Cuttable, Sized]) -> None:
        self.tree = tree
        self._states = states
        # Whose tokens the caches begin with: a beginning that is still in place need not be copied back.
        self._resident: Node[Cuttable, Sized] | None = None

    def read(
        self, prefill: Prefill, keys: Keys, cuts: Sequence[Cut], seen: frozenset[int] = frozenset()
    ) -> tuple[Floats, int]:
        """Logits [vocabulary] after the prompt, and how many of its tokens were kept from before.

        `keys`: what the prompt's tokens stand for; `seen`: cuts after pictures that came before this prompt.
        """
        start = self.bring(prefill, keys, cuts, seen)
        here = cuts[-1].at if cuts else 0
        return prefill.run(here, prefill.tokens), start

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
            prefill.run(here, cut.at)
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
        node = self.tree.keep(keys, states.copy_caches, states.copy_fixed)
        if node is not None:
            self._resident = node

    def _restore(self, node: Node[Cuttable, Sized] | None) -> None:
        if node is None or node.state is None:
            self._states.begin()
            self._resident = None
            return
        common = in_common(self._resident, node) if self._resident is not None else 0
        for part in node.path():
            if part.length > common:
                self._states.put_caches(part.run, part.start)
        self._states.put_fixed(node.state)
        self._resident = node
