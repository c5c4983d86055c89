"""The ONNX Runtime session: pictures and a question in, an answer with its probabilities out.

One thread at a time may use a session. Knows how preprocessing, graphs, snapshots and decoding go together;
does not know bundles as files (see `open.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

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
from lineside.engines.chat import VisionShape
from lineside.engines.errors import BadImage, EngineError, UndecodableAnswer
from lineside.engines.familiarity import FamiliarityStats, distance
from lineside.engines.manifest import ScopeEntry
from lineside.engines.onnxruntime.generate import Decoded, Generator
from lineside.engines.onnxruntime.graphs import DecoderCall, DecoderGraph, VisionGraph
from lineside.engines.onnxruntime.plans import Plan, Planner
from lineside.engines.onnxruntime.states import SnapshotStore, States, restore, take_snapshot
from lineside.engines.pixels import Patches, PatchMaker
from lineside.engines.positions import TextRotary
from lineside.engines.scope import known_question


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What a session is made of; `patches` and `vision` are None for a text-only model."""

    decoder: DecoderGraph
    vision: VisionGraph | None
    patches: PatchMaker | None
    planner: Planner
    generator: Generator
    rotary: TextRotary
    states: States
    snapshots: SnapshotStore
    scope: tuple[ScopeEntry, ...] | None
    familiarity: Mapping[str, FamiliarityStats]


class OnnxRuntimeSession:
    """An opened engine (`AnswersQuestions`). Greedy: the same pictures and question give the same answer."""

    def __init__(self, info: EngineInfo, parts: SessionParts) -> None:
        self._info = info
        self._parts: SessionParts | None = parts
        # Whose tokens the caches begin with: a prefix that is still in place need not be copied back.
        self._resident: bytes | None = None

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
        entry = known_question(parts.scope, prompt, grammar) if parts.scope is not None else None
        pictures = self._pictures(parts, images)
        plan = parts.planner.plan(prompt, grammar, self._shapes(parts, pictures))
        prepared = time.perf_counter()
        if pictures:
            assert parts.vision is not None
            parts.vision.run(pictures, plan.embeds)
        seen = time.perf_counter()
        self._bring_prefix(parts, plan.prefix_key)
        logits = plan.prefill.run()[0, 0]
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
                prefix=plan.prompt.prefix,
                prompt=int(plan.prompt.ids.size) - plan.prompt.prefix - plan.image_tokens,
                image=plan.image_tokens,
                forced=max(len(decoded.token_ids) - decided, 0),
                decided=decided,
            ),
            timings=Timings(
                preprocess=1e3 * (prepared - started),
                vision=1e3 * (seen - prepared),
                prefill=1e3 * (read - seen),
                decode=1e3 * (done - read),
                total=1e3 * (done - started),
            ),
            familiarity=_familiarity(parts, entry, plan) if pictures else None,
        )

    def warm(self, prompt: Prompt, grammar: Grammar) -> None:
        """Checks that a question can be asked and computes its prefix snapshot.

        Raises:
            UnknownQuestion, BadQuestion: it cannot be asked.
        """
        parts = self._opened()
        if parts.scope is not None:
            known_question(parts.scope, prompt, grammar)
        parts.planner.check(grammar)
        # Where pictures stand in a raw prompt only the pictures tell.
        if parts.vision is not None and not prompt.raw:
            self._bring_prefix(parts, parts.planner.prefix(prompt))

    def close(self) -> None:
        """Gives up the sessions and buffers; the engine cannot be used afterwards."""
        self._parts = None

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

    def _pictures(self, parts: SessionParts, images: Sequence[Image | Clip]) -> list[Patches]:
        if images and parts.patches is None:
            raise BadImage("this engine has no vision tower: it takes no pictures")
        return [
            parts.patches.clip(one) if isinstance(one, Clip) else parts.patches.picture(one)
            for one in images
            if parts.patches is not None
        ]

    def _shapes(self, parts: SessionParts, pictures: list[Patches]) -> list[VisionShape]:
        merge = parts.patches.numbers.merge if parts.patches is not None else 1
        return [VisionShape(one.grid_h // merge, one.grid_w // merge, one.seconds) for one in pictures]

    def _bring_prefix(self, parts: SessionParts, key: bytes) -> None:
        """Leaves the states as they are after the prefix tokens in `key` (int64)."""
        if not key:
            parts.states.begin()
            self._resident = None
            return
        snapshot = parts.snapshots.get(key)
        if snapshot is None:
            self._resident = None
            ids = np.frombuffer(key, np.int64)
            parts.states.begin()
            call = DecoderCall(parts.decoder, parts.states, ids.size, 1)
            call.ids[0] = ids
            call.cos[0], call.sin[0] = parts.rotary.text_angles(0, ids.size)
            call.run()
            parts.snapshots.put(key, take_snapshot(parts.states, ids.size))
        else:
            restore(snapshot, parts.states, caches=self._resident != key)
        self._resident = key


def _decode(
    generator: Generator, plan: Plan, grammar: Grammar, logits: np.ndarray, max_tokens: int
) -> Decoded:
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
