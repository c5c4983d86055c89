"""From logits to an answer: the whole distribution of a choice, or greedy text under a grammar.

Every step runs what the grammar forces together with what was just decided, and stops as soon as the rest of
the answer is certain. Knows plans, states and calls; does not know pictures, bundles or questions' scope.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lineside.engines.answering.plans import Plan
from lineside.engines.answering.runtime import Call, Decoder, Floats, States
from lineside.engines.base import Decision, Free, Language, Observer, Schema, Text
from lineside.engines.choices import AnswerTrie, ScoreRow, renormalised, rows_to_score, value_probabilities
from lineside.engines.errors import UndecodableAnswer
from lineside.engines.positions import TextRotary

ALTERNATIVES = 8
_BATCH_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Decoded:
    """An answer without what only the session knows: timings, prompt counts, familiarity."""

    text: str
    value: object
    confidence: float
    probabilities: dict[str, float]
    runner_up: tuple[str, float] | None
    decisions: tuple[Decision, ...]
    token_ids: tuple[int, ...]


class Generator:
    """Decodes answers on one engine's states. Not for several threads."""

    def __init__(
        self,
        decoder: Decoder,
        states: States,
        rotary: TextRotary,
        tokenizer: Tokenizer,
        end_tokens: tuple[int, ...],
    ) -> None:
        self._decoder = decoder
        self._states = states
        self._rotary = rotary
        self._tokenizer = tokenizer
        self._end_tokens = frozenset(end_tokens)
        self._words = tokenizer.get_vocab_size()
        self._spellings: dict[int, str] = {}
        self._steps: dict[int, Call] = {}
        self.observe: Observer | None = None

    def choose(self, plan: Plan, logits: Floats) -> Decoded:
        """Scores every allowed value; `logits` [vocabulary] are those after the plan's opening."""
        trie = plan.trie
        assert trie is not None
        shares = self._shares(plan, trie, logits)
        probabilities = value_probabilities(trie, shares)
        order = np.argsort(-probabilities, kind="stable")
        best = int(order[0])
        runner_up = None
        if len(order) > 1:
            runner_up = (str(plan.values[order[1]]), float(probabilities[order[1]]))
        return Decoded(
            text=self._spell(trie.sequences[best]),
            value=plan.values[best],
            confidence=float(probabilities[best]),
            probabilities={
                str(value): float(share) for value, share in zip(plan.values, probabilities, strict=True)
            },
            runner_up=runner_up,
            decisions=tuple(
                self._decision(
                    branch.tokens, shares[index], next(i for i, v in enumerate(branch.values) if best in v)
                )
                for index, branch in enumerate(trie.branches)
                if any(best in members for members in branch.values)
            ),
            token_ids=trie.sequences[best],
        )

    def _shares(self, plan: Plan, trie: AnswerTrie, logits: Floats) -> dict[int, NDArray[np.float64]]:
        if not trie.branches:
            return {}
        shares = {0: renormalised(finite(logits)[trie.branches[0].tokens])}
        rows = rows_to_score(trie)
        while rows:
            tokens = max(len(row.tokens) for row in rows)
            batch = max(1, _BATCH_BYTES // self._row_bytes(plan.length + tokens))
            batch = min(batch, self._decoder.most_rows)
            for branch, scores in self._score(plan, rows[:batch]):
                shares[branch] = renormalised(finite(scores)[trie.branches[branch].tokens])
            rows = rows[batch:]
        return shares

    def _row_bytes(self, length: int) -> int:
        return self._decoder.row_bytes(length) + 4 * self._decoder.vocabulary

    def _score(self, plan: Plan, rows: tuple[ScoreRow, ...]) -> Iterator[tuple[int, Floats]]:
        """Logits at the rows' branches, from copies of the states after the prefill: a call a level."""
        depth = max(len(row.tokens) for row in rows)
        states = self._decoder.states(len(rows), plan.length + depth)
        states.repeat(self._states, plan.length)
        # One token a call: the CPU's attention takes several rows, or several tokens after a past, not both.
        call = self._decoder.call(states, 1, 1)
        for level in range(depth):
            # A row that is through repeats its last token, where nothing that is read can see it.
            call.ids[:, 0] = [row.tokens[min(level, len(row.tokens) - 1)] for row in rows]
            call.cos[:], call.sin[:] = self._rotary.text_angles(plan.position(plan.length + level), 1)
            call.past_length[:] = plan.length + level
            logits = call.run()
            for at, row in enumerate(rows):
                for branch, length in row.reads:
                    if length == level + 1:
                        if self.observe is not None:
                            self.observe(logits[at, 0])
                        yield branch, logits[at, 0]

    def write(
        self, plan: Plan, grammar: Text | Schema | Language, logits: Floats, max_tokens: int
    ) -> Decoded:
        """Greedy text under the plan's grammar; `logits` as for `choose`.

        Raises:
            UndecodableAnswer: not complete within `max_tokens`.
        """
        assert plan.constraint is not None
        matcher = plan.constraint.start()
        tokens = matcher.run_up()
        decisions: list[tuple[int, Decision, int | None]] = []
        past = plan.length
        pending: list[int] = []
        while not matcher.finished():
            if len(tokens) >= max_tokens:
                raise UndecodableAnswer(f"the answer was not complete after {max_tokens} tokens")
            if pending:
                logits = self._step(plan, past, pending)
                past += len(pending)
            allowed = matcher.allowed()
            if not allowed.size:
                raise UndecodableAnswer("the grammar allows no token here")
            shares = renormalised(finite(logits)[allowed])
            order = np.argsort(-shares, kind="stable")
            token = int(allowed[order[0]])
            other = int(allowed[order[1]]) if len(order) > 1 else None
            decisions.append((len(tokens), self._decision(allowed, shares, int(order[0])), other))
            if token in self._end_tokens:
                break
            matcher.take(token)
            run = matcher.run_up()
            pending = [token, *run]
            tokens += pending
        text = self._spell(tokens)
        value = text if isinstance(grammar, Language) else _parsed(grammar, text)
        confidence = float(np.prod([decision.probability for _, decision, _ in decisions]))
        return Decoded(
            text=text,
            value=value,
            confidence=confidence,
            probabilities={},
            runner_up=self._runner_up(plan, grammar, tokens, decisions, confidence),
            decisions=tuple(decision for _, decision, _ in decisions),
            token_ids=tuple(tokens),
        )

    def _runner_up(
        self,
        plan: Plan,
        grammar: Text | Schema | Language,
        tokens: list[int],
        decisions: list[tuple[int, Decision, int | None]],
        confidence: float,
    ) -> tuple[str, float] | None:
        """The answer with the least certain decision the other way, where that is a whole answer too."""
        if not decisions:
            return None
        at, decision, other = min(decisions, key=lambda one: one[1].probability)
        if other is None or at >= len(tokens):
            return None
        changed = [*tokens[:at], other, *tokens[at + 1 :]]
        assert plan.constraint is not None
        if other in self._end_tokens or not plan.constraint.accepts(changed):
            return None
        text = self._spell(changed)
        share = decision.alternatives[1][1]
        shown = str(json.loads(text)["answer"]) if isinstance(grammar, Text) else text
        return shown, confidence / decision.probability * share

    def write_freely(self, plan: Plan, grammar: Free, logits: Floats, max_tokens: int) -> Decoded:
        """Greedy text until an end token.

        Raises:
            UndecodableAnswer: no end token within `max_tokens`, and the text may not be cut there.
        """
        every = np.arange(min(self._words, self._decoder.vocabulary))
        tokens: list[int] = []
        decisions: list[Decision] = []
        while True:
            shares = renormalised(finite(logits)[every])
            token = int(shares.argmax())
            decisions.append(self._decision(every, shares, token))
            if token in self._end_tokens:
                break
            tokens.append(token)
            if len(tokens) >= max_tokens:
                if grammar.cut:
                    break
                raise UndecodableAnswer(f"the answer was not complete after {max_tokens} tokens")
            logits = self._step(plan, plan.length + len(tokens) - 1, [token])
        text = self._spell(tokens)
        confidence = float(np.prod([decision.probability for decision in decisions]))
        return Decoded(text, text, confidence, {}, None, tuple(decisions), tuple(tokens))

    def _step(self, plan: Plan, past: int, tokens: list[int]) -> Floats:
        """Logits after `tokens`, which follow `past` tokens."""
        if past + len(tokens) > self._states.capacity:
            raise UndecodableAnswer(
                f"the answer does not fit the context of {self._states.capacity} tokens beside the prompt"
            )
        most = self._decoder.most_tokens
        while len(tokens) > most:
            self._run(plan, past, tokens[:most])
            past, tokens = past + most, tokens[most:]
        logits = self._run(plan, past, tokens)
        if self.observe is not None:
            self.observe(logits)
        return logits

    def _run(self, plan: Plan, past: int, tokens: list[int]) -> Floats:
        call = self._steps.get(len(tokens))
        if call is None:
            call = self._steps.setdefault(len(tokens), self._decoder.call(self._states, len(tokens), 1))
        call.ids[0] = tokens
        call.cos[0], call.sin[0] = self._rotary.text_angles(plan.position(past), len(tokens))
        call.past_length[0] = past
        logits: Floats = call.run()[0, 0]
        return logits

    def _decision(self, tokens: NDArray[np.int64], shares: NDArray[np.float64], chosen: int) -> Decision:
        """`chosen`: index into `tokens` of the token that was taken."""
        if shares.size > ALTERNATIVES:
            top = np.argpartition(-shares, ALTERNATIVES)[:ALTERNATIVES]
            top = top[np.argsort(-shares[top], kind="stable")]
        else:
            top = np.argsort(-shares, kind="stable")
        if chosen not in top:
            top[-1] = chosen
        return Decision(
            self._spelling(int(tokens[chosen])),
            float(shares[chosen]),
            tuple((self._spelling(int(tokens[at])), float(shares[at])) for at in top),
        )

    def _spelling(self, token: int) -> str:
        if token not in self._spellings:
            self._spellings[token] = self._spell([token])
        return self._spellings[token]

    def _spell(self, tokens: tuple[int, ...] | list[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))


def _parsed(grammar: Text | Schema, text: str) -> object:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise UndecodableAnswer(f"the answer is not JSON: {error}") from error
    return parsed["answer"] if isinstance(grammar, Text) else parsed


def finite(logits: Floats) -> Floats:
    """The logits, if they are numbers.

    Raises:
        UndecodableAnswer: they are not.
    """
    if not np.isfinite(logits).all():
        raise UndecodableAnswer(
            "the engine's logits are not finite numbers: its weights or memory are damaged"
        )
    return logits
