"""Everything about a question that does not change from picture to picture, made once and kept.

A plan has the prompt's tokens, where their reading is cut, the answer's trie or grammar, and the prefill with
its buffers. Knows prompts, grammars and calls; does not run anything.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lineside.engines.answering.cuts import Cut, cuts_of
from lineside.engines.answering.prefill import Prefill
from lineside.engines.answering.runtime import Decoder, Floats, States
from lineside.engines.base import Choice, Count, Free, Grammar, Language, Prompt, Schema, Text
from lineside.engines.chat import PromptWriter, TokenisedPrompt, VisionShape
from lineside.engines.choices import AnswerTrie, allowed_values, build_trie
from lineside.engines.errors import PromptTooLong
from lineside.engines.grammar import Constraint, GrammarCompiler
from lineside.engines.positions import Integers, TextRotary

_PLANS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """One question for pictures of one set of sizes.

    `opening`: the answer's first tokens, about which the grammar leaves no choice. `trie` and `values`: of a
    choice or count; `constraint`: of a text or schema; none of them for free text. `embeds`: [N, hidden],
    where the vision graph puts the pictures. `cuts`: where the reading of `prefill` is interrupted.
    `places`: for each picture, its rows of `embeds` and where its tokens end.
    """

    prompt: TokenisedPrompt
    opening: tuple[int, ...]
    values: tuple[str | int, ...]
    trie: AnswerTrie | None
    constraint: Constraint | None
    embeds: Floats
    prefill: Prefill
    cuts: tuple[Cut, ...]
    places: tuple[tuple[slice, int], ...]

    @property
    def length(self) -> int:
        """Tokens in the past once the prefill has run."""
        return int(self.prompt.ids.size) + len(self.opening)

    @property
    def image_tokens(self) -> int:
        """How many of them are pictures."""
        return int((self.prompt.image_index >= 0).sum())

    def keys(self, numbers: Sequence[int]) -> Integers:
        """What the prompt's tokens stand for: their ids, and for a picture's tokens the picture's number."""
        keys = self.prompt.ids.copy()
        index = self.prompt.image_index
        for (rows, _), number in zip(self.places, numbers, strict=True):
            keys[(index >= rows.start) & (index < rows.stop)] = number
        return keys

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
        decoder: Decoder,
        rotary: TextRotary,
        states: States,
    ) -> None:
        self._writer = writer
        self._compiler = compiler
        self._decoder = decoder
        self._rotary = rotary
        self._states = states
        self._plans: OrderedDict[object, Plan] = OrderedDict()

    @property
    def hidden(self) -> int:
        """Values of one picture token."""
        return self._decoder.hidden

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

    def words(self, prompt: Prompt, *, pictures: bool) -> tuple[Prefill, Integers, tuple[Cut, ...]]:
        """What every prompt with these fixed words begins with: to be read ahead, its keys and its cuts."""
        visions = [VisionShape(1, 1)] if pictures else []
        tokenised = self._writer.tokenise(prompt, visions)
        count = self._count_words(prompt, tokenised, visions)
        cuts = cuts_of(tokenised.ids.size, count, tokenised.image_index[:count], (), question=False)
        return self._prefill(tokenised, (), None), tokenised.ids, cuts

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
        embeds = np.zeros((max(pictures, 1), self._decoder.hidden), np.float32)
        return Plan(
            tokenised,
            opening,
            values,
            trie,
            constraint,
            embeds,
            self._prefill(tokenised, opening, embeds),
            cuts_of(
                tokenised.ids.size,
                self._count_words(prompt, tokenised, visions),
                tokenised.image_index,
                visions,
                question=bool(prompt.question),
            ),
            _places(tokenised, visions),
        )

    def _count_words(self, prompt: Prompt, tokenised: TokenisedPrompt, visions: Sequence[VisionShape]) -> int:
        """How many tokens come before whatever changes: the first picture, or the question."""
        if visions and not visions[0].is_clip:
            return tokenised.prefix
        if prompt.raw or not prompt.instruction:
            return 0
        # A clip begins with words of its own, and a template may do anything with a question: compare two.
        other = (
            self._writer.tokenise(prompt, [VisionShape(1, 1)])
            if visions
            else self._writer.tokenise(Prompt(prompt.instruction, f"~ {prompt.question}"), ())
        )
        size = min(other.ids.size, tokenised.ids.size)
        differ = np.flatnonzero(other.ids[:size] != tokenised.ids[:size])
        return int(differ[0]) if differ.size else 0

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

    def _prefill(self, prompt: TokenisedPrompt, opening: tuple[int, ...], embeds: Floats | None) -> Prefill:
        ids = np.concatenate([prompt.ids, np.array(opening, np.int64)])
        image_index = np.concatenate([prompt.image_index, np.full(len(opening), -1, np.int64)])
        asked = self._rotary.angles(prompt.positions.streams)
        answered = self._rotary.text_angles(prompt.positions.next, len(opening))
        cos, sin = (np.concatenate(pair) for pair in zip(asked, answered, strict=True))
        return Prefill(self._decoder, self._states, ids, image_index, (cos, sin), embeds)


def _places(prompt: TokenisedPrompt, visions: Sequence[VisionShape]) -> tuple[tuple[slice, int], ...]:
    where = np.flatnonzero(prompt.image_index >= 0)
    found: list[tuple[slice, int]] = []
    done = 0
    for vision in visions:
        found.append((slice(done, done + vision.tokens), int(where[done + vision.tokens - 1]) + 1))
        done += vision.tokens
    return tuple(found)
