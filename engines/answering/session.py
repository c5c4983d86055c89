"""The session, on any runtime: pictures and a question in, an answer with its probabilities out.

One thread at a time may use a session. Knows how preprocessing, graphs, snapshots and decoding go together;
does not know bundles as files (see `open.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from lineside.engines.answering.generate import Decoded, Generator
from lineside.engines.answering.pictures import Look, PictureShelf
from lineside.engines.answering.plans import Plan, Planner
from lineside.engines.answering.reading import PromptReader
from lineside.engines.answering.runtime import Floats, Vision
from lineside.engines.base import (
    Answer,
    Choice,
    Clip,
    Count,
    EngineInfo,
    Free,
    Grammar,
    Image,
    Observer,
    Prompt,
    Timings,
    TokenCounts,
)
from lineside.engines.errors import BadImage, EngineError, UndecodableAnswer
from lineside.engines.familiarity import FamiliarityStats, distance
from lineside.engines.manifest import ScopeEntry
from lineside.engines.scope import as_trained, check_pictures, known_question


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What a session is made of; `vision` and `pictures` are None for a text-only model."""

    vision: Vision | None
    pictures: PictureShelf | None
    planner: Planner
    reader: PromptReader
    generator: Generator
    scope: tuple[ScopeEntry, ...] | None
    familiarity: Mapping[str, FamiliarityStats]


class EngineSession:
    """An opened engine (`AnswersQuestions`). Greedy: the same pictures and question give the same answer."""

    def __init__(self, info: EngineInfo, parts: SessionParts, end: Callable[[], None] = lambda: None) -> None:
        """`end`: gives up what the runtime holds; called once, when the session is closed."""
        self._info = info
        self._end = end
        self._parts: SessionParts | None = parts
        self._seeing = threading.Lock()  # the vision tower takes one picture at a time

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    def answer(
        self,
        images: Sequence[Image | Clip],
        prompt: Prompt,
        grammar: Grammar,
        *,
        max_tokens: int = 256,
        observe: Observer | None = None,
    ) -> Answer:
        """One answer. `observe` is shown the logits it is read from, before they are judged.

        Raises:
            UnknownQuestion: the engine was not trained for this question or these values.
            BadQuestion: the prompt or grammar cannot be asked of any engine.
            BadImage: a picture the engine cannot take.
            PromptTooLong: prompt and images exceed the context.
            UndecodableAnswer: no valid answer within `max_tokens`, or logits that are not finite.
        """
        parts = self._opened()
        started = time.perf_counter()
        entry = None
        if parts.scope is not None:
            entry = known_question(parts.scope, prompt, grammar)
            check_pictures(images)
            prompt = as_trained(entry)
        looks = _looks(parts, images)
        plan = parts.planner.plan(prompt, grammar, [look.shape for look in looks])
        prepared = time.perf_counter()
        came_before = frozenset(end for look, (_, end) in zip(looks, plan.places, strict=True) if look.known)
        self._see(parts, looks, plan)
        seen = time.perf_counter()
        ahead = _ahead_seconds(looks)
        keys = plan.keys([look.number for look in looks])
        logits, kept = parts.reader.read(plan.prefill, keys, plan.cuts, came_before)
        if observe is not None:
            observe(logits)
        parts.generator.observe = observe
        read = time.perf_counter()
        decoded = _decode(parts.generator, plan, grammar, logits, max_tokens)
        done = time.perf_counter()
        decided = len(decoded.decisions)
        return Answer(
            text=decoded.text,
            value=decoded.value,
            confidence=decoded.confidence,
            probabilities=decoded.probabilities,
            runner_up=decoded.runner_up,
            decisions=decoded.decisions,
            token_ids=decoded.token_ids,
            tokens=TokenCounts(
                prefix=kept,
                prompt=int((plan.prompt.image_index[kept:] < 0).sum()),
                image=int((plan.prompt.image_index[kept:] >= 0).sum()),
                forced=max(len(decoded.token_ids) - decided, 0),
                decided=decided,
            ),
            timings=Timings(
                preprocess=1e3 * (prepared - started),
                vision=1e3 * (seen - prepared + ahead),
                prefill=1e3 * (read - seen),
                decode=1e3 * (done - read),
                total=1e3 * (done - started),
            ),
            familiarity=_familiarity(parts, entry, plan) if looks else None,
        )

    def look_ahead(self, images: Sequence[Image | Clip]) -> None:
        """Runs the vision tower on pictures that will be asked about, while another thread has it answer.

        What it takes counts as vision time of the question that comes. Not for several threads at a time.

        Raises:
            BadImage: a picture the engine cannot take.
        """
        parts = self._opened()
        if parts.pictures is None or parts.vision is None or not parts.pictures.keeps:
            return
        started = time.perf_counter()
        for look in parts.pictures.missing(images):
            assert look.patches is not None
            embeds = np.empty((look.shape.tokens, parts.planner.hidden), np.float32)
            with self._seeing:
                parts.vision.run(look.patches, embeds)
            look.ahead_s = time.perf_counter() - started
            parts.pictures.put(look, embeds)
            started = time.perf_counter()

    def _see(self, parts: SessionParts, looks: Sequence[Look], plan: Plan) -> None:
        """Fills the plan's embeddings, from those kept where a picture came before."""
        for look, (rows, _) in zip(looks, plan.places, strict=True):
            embeds = plan.embeds[rows]
            if look.embeds is not None:
                embeds[:] = look.embeds
            elif look.patches is not None:
                assert parts.vision is not None
                assert parts.pictures is not None
                with self._seeing:
                    parts.vision.run(look.patches, embeds)
                parts.pictures.put(look, embeds)

    def warm(self, prompt: Prompt, grammar: Grammar) -> None:
        """Checks that a question can be asked and reads its fixed words ahead.

        Raises:
            UnknownQuestion, BadQuestion: it cannot be asked.
        """
        parts = self._opened()
        if parts.scope is not None:
            prompt = as_trained(known_question(parts.scope, prompt, grammar))
        parts.planner.check(grammar)
        # Where pictures stand in a raw prompt only the pictures tell.
        if not prompt.raw:
            parts.reader.bring(*parts.planner.words(prompt, pictures=parts.vision is not None))

    def close(self) -> None:
        """Gives up the sessions and buffers; the engine cannot be used afterwards."""
        if self._parts is None:
            return
        self._parts = None
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> SessionParts:
        if self._parts is None:
            raise EngineError(f"the engine {self._info.name} was closed: open it again")
        return self._parts


def _looks(parts: SessionParts, images: Sequence[Image | Clip]) -> list[Look]:
    if parts.pictures is None:
        if images:
            raise BadImage("this engine has no vision tower: it takes no pictures")
        return []
    return parts.pictures.look(images)


def _ahead_seconds(looks: Sequence[Look]) -> float:
    """Seconds that were spent on these pictures before they were asked about, each counted once."""
    spent = sum(look.ahead_s or 0.0 for look in {id(look): look for look in looks}.values())
    for look in looks:
        look.ahead_s = None
    return spent


def _decode(generator: Generator, plan: Plan, grammar: Grammar, logits: Floats, max_tokens: int) -> Decoded:
    match grammar:
        case Choice() | Count():
            decoded = generator.choose(plan, logits)
            if len(decoded.token_ids) > max_tokens:
                raise UndecodableAnswer(f"the answer has more than {max_tokens} tokens")
            return decoded
        case Free():
            return generator.write_freely(plan, grammar, logits, max_tokens)
        case _:
            return generator.write(plan, grammar, logits, max_tokens)


def _familiarity(parts: SessionParts, entry: ScopeEntry | None, plan: Plan) -> float | None:
    stats = parts.familiarity.get(entry.id) if entry is not None else None
    return distance(plan.embeds, stats) / stats.threshold if stats is not None else None
