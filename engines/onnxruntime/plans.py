"""Everything about a question that does not change from picture to picture, made once and kept.

A plan has the prompt's tokens, the answer's trie or grammar, and the prefill call bound to its buffers.
Knows prompts, grammars and calls; does not run anything.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineside.engines.base import Choice, Count, Free, Grammar, Language, Prompt, Schema, Text
from lineside.engines.chat import PromptWriter, TokenisedPrompt, VisionShape
from lineside.engines.choices import AnswerTrie, allowed_values, build_trie
from lineside.engines.errors import PromptTooLong
from lineside.engines.grammar import Constraint, GrammarCompiler
from lineside.engines.onnxruntime.graphs import DecoderCall, DecoderGraph
from lineside.engines.onnxruntime.states import Floats, States
from lineside.engines.positions import TextRotary

_PLANS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """One question for pictures of one set of sizes.

    `opening`: the answer's first tokens, about which the grammar leaves no choice. `trie` and `values`: of a
    choice or count; `constraint`: of a text or schema; none of them for free text. `embeds`: [N, hidden],
    where the vision graph puts the pictures. `prefill`: the call over what follows the prefix.
    """

    prompt: TokenisedPrompt
    opening: tuple[int, ...]
    values: tuple[str | int, ...]
    trie: AnswerTrie | None
    constraint: Constraint | None
    embeds: Floats
    prefix_key: bytes
    prefill: DecoderCall

    @property
    def length(self) -> int:
        """Tokens in the past once the prefill has run."""
        return int(self.prompt.ids.size) + len(self.opening)

    @property
    def image_tokens(self) -> int:
        """How many of them are pictures."""
        return int((self.prompt.image_index >= 0).sum())

    def position(self, at: int) -> int:
        """The rotary position of token `at`, for tokens after the prompt."""
        return at + self.prompt.positions.rope_delta


def grammar_key(grammar: Grammar) -> object:
    """Something hashable that tells grammars apart."""
    if isinstance(grammar, Schema):
        return "schema", json.dumps(grammar.schema, sort_keys=True, default=repr)
    return grammar


class Planner:
    """Makes plans and keeps the most used."""

    def __init__(
        self,
        writer: PromptWriter,
        compiler: GrammarCompiler,
        graph: DecoderGraph,
        rotary: TextRotary,
        states: States,
    ) -> None:
        self._writer = writer
        self._compiler = compiler
        self._graph = graph
        self._rotary = rotary
        self._states = states
        self._plans: OrderedDict[object, Plan] = OrderedDict()

    def plan(self, prompt: Prompt, grammar: Grammar, visions: Sequence[VisionShape]) -> Plan:
        """The plan for a question about pictures of these sizes.

        Raises:
            BadQuestion: the prompt or the grammar cannot be asked.
            PromptTooLong: it does not fit the context.
        """
        key = (prompt, grammar_key(grammar), tuple(visions))
        found = self._plans.get(key)
        if found is not None:
            self._plans.move_to_end(key)
            return found
        plan = self._make(prompt, grammar, visions)
        self._plans[key] = plan
        if len(self._plans) > _PLANS_KEPT:
            self._plans.popitem(last=False)
        return plan

    def prefix(self, prompt: Prompt) -> bytes:
        """The tokens (int64) before the first picture, as every plan of this prompt has them."""
        tokenised = self._writer.tokenise(prompt, [VisionShape(1, 1)])
        return tokenised.ids[: tokenised.prefix].tobytes()

    def check(self, grammar: Grammar) -> None:
        """Raises BadQuestion where a grammar cannot be asked."""
        self._answers(grammar)

    def _make(self, prompt: Prompt, grammar: Grammar, visions: Sequence[VisionShape]) -> Plan:
        tokenised = self._writer.tokenise(prompt, visions)
        values, trie, constraint = self._answers(grammar)
        opening: tuple[int, ...] = ()
        if trie is not None:
            opening = trie.forced
        elif constraint is not None:
            opening = tuple(constraint.start().run_up())
        pictures = int((tokenised.image_index >= 0).sum())
        capacity = self._states.capacity
        if tokenised.ids.size + len(opening) >= capacity:
            raise PromptTooLong(
                f"{tokenised.ids.size} tokens of prompt, {pictures} of them pictures, leave no room for an "
                f"answer in a context of {capacity}: crop or shrink the pictures, shorten the words, or open "
                "the engine with more context_tokens"
            )
        embeds = np.zeros((max(pictures, 1), self._graph.hidden), np.float32)
        return Plan(
            tokenised,
            opening,
            values,
            trie,
            constraint,
            embeds,
            tokenised.ids[: tokenised.prefix].tobytes(),
            self._prefill(tokenised, opening, embeds),
        )

    def _answers(
        self, grammar: Grammar
    ) -> tuple[tuple[str | int, ...], AnswerTrie | None, Constraint | None]:
        match grammar:
            case Choice() | Count():
                values = allowed_values(grammar)
                return values, build_trie(values, self._writer.encode), None
            case Text() | Schema() | Language():
                return (), None, self._compiler.compile(grammar)
            case Free():
                return (), None, None

    def _prefill(self, prompt: TokenisedPrompt, opening: tuple[int, ...], embeds: Floats) -> DecoderCall:
        cut = prompt.prefix
        tokens = prompt.ids.size - cut
        call = DecoderCall(self._graph, self._states, tokens + len(opening), 1, embeds)
        call.ids[0, :tokens] = prompt.ids[cut:]
        call.ids[0, tokens:] = opening
        call.image_index[0, :tokens] = prompt.image_index[cut:]
        call.cos[0, :tokens], call.sin[0, :tokens] = self._rotary.angles(prompt.positions.streams[:, cut:])
        call.cos[0, tokens:], call.sin[0, tokens:] = self._rotary.text_angles(
            prompt.positions.next, len(opening)
        )
        call.past_length[:] = cut
        return call
