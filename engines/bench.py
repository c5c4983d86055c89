"""An engine's figures on this machine: its graphs alone, then whole inspections. Medians, and nothing hidden.

Prefill and decode are measured on the graph with tokens at random, as every engine can be measured, whatever
questions it was trained for. Knows sessions and graphs; does not know how figures are shown.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lineside.engines.answering.runtime import Decoder
from lineside.engines.base import Choice, Grammar, Image, Prompt
from lineside.engines.bundle import Bundle, open_bundle
from lineside.engines.config import parse_config
from lineside.engines.errors import IncompatibleBundle
from lineside.engines.open import Engine
from lineside.engines.roofline import Roofline, measure_roofline
from lineside.engines.roofline_devices import Device
from lineside.engines.roofline_engines import cost_of, precision_of
from lineside.engines.roofline_table import Bound, Work, bound
from lineside.engines.runtimes import candidates, first_that_runs
from lineside.engines.selftest import cases_of
from lineside.engines.traffic import Traffic, read_traffic

_DECODE_STEPS = 16


@dataclass(frozen=True, slots=True)
class GraphFigures:
    """Tokens a second of the decoder alone: `prompt_tokens` at once, and one by one after them."""

    prompt_tokens: int
    load_s: float
    prefill_tokens_s: float
    decode_tokens_s: float


@dataclass(frozen=True, slots=True)
class InspectionFigures:
    """Milliseconds of whole answers about one picture.

    `first`: the very first; `repeated`: another picture, the words' states at hand; `again`: the same one.
    """

    question: str
    prompt_tokens: int
    image_tokens: int
    answer_tokens: int
    open_s: float
    first_ms: float
    repeated_ms: float
    again_ms: float
    vision_ms: float
    prefill_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Everything of one run. Memory in bytes: what was stated, and the process's largest."""

    graph: GraphFigures
    inspection: InspectionFigures
    roofline: Roofline
    traffic: Traffic
    stated_bytes: int
    peak_bytes: int

    @property
    def decode_bound_tokens_s(self) -> float:
        """What the memory would allow at most, half-way through the measured steps."""
        past = self.graph.prompt_tokens + _DECODE_STEPS // 2
        return self.roofline.read_bytes_s / max(self.traffic.bytes_at(past), 1)

    @property
    def prefill_bound_tokens_s(self) -> float:
        """What float32 products would allow at most; integer products may go beyond it."""
        each = self.traffic.multiply_adds - self.traffic.head_multiply_adds
        work = each * self.graph.prompt_tokens + self.traffic.head_multiply_adds
        return self.roofline.multiply_adds_s * self.graph.prompt_tokens / max(work, 1)


def bench_engine(
    path: Path,
    cache: Path,
    *,
    image_size: tuple[int, int],
    tokens: int,
    repeats: int,
    runtime: str = "auto",
    threads: int | None = None,
    measure: Callable[[int | None], Roofline] = measure_roofline,
) -> BenchReport:
    """Measures a bundle. `image_size`: width and height of the pictures; `tokens`: of the prefill.

    The graph is closed before the engine is opened: never are the weights in memory twice.

    Raises:
        DamagedBundle, IncompatibleBundle, NotEnoughMemory: the bundle does not open, or has no such context.
    """
    bundle = open_bundle(path, cache)
    build = bundle.manifest.onnx
    if build is None:
        raise IncompatibleBundle(f"{bundle.manifest.name} has no onnx build to measure")
    room = tokens + _DECODE_STEPS + 1
    if room > bundle.manifest.context_tokens:
        raise IncompatibleBundle(
            f"{bundle.manifest.name} takes {bundle.manifest.context_tokens} tokens: measure it with at most "
            f"{bundle.manifest.context_tokens - _DECODE_STEPS - 1} (--tokens)"
        )
    graph = _graph_figures(bundle, cache, runtime, threads, tokens, repeats)
    inspection, stated = _inspections(path, cache, bundle, runtime, threads, image_size, repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return BenchReport(
        graph=graph,
        inspection=inspection,
        # Last, so that its large arrays are not in the engine's peak.
        roofline=measure(threads),
        traffic=read_traffic(bundle.path(build.decoder), build),
        stated_bytes=stated,
        peak_bytes=peak,
    )


def sheet_bound(path: Path, cache: Path, device: Device, image_size: tuple[int, int], tokens: int) -> Bound:
    """What the device's data sheet allows this bundle for the work that `bench_engine` measures.

    Raises:
        DamagedBundle, IncompatibleBundle: the bundle does not open.
    """
    bundle = open_bundle(path, cache)
    config = parse_config(bundle.json("config.json"))
    # The prefill is of `tokens` in all, without a picture; the picture's own time is asked for by itself.
    cost = cost_of(bundle.manifest.name, config)
    past = tokens + _DECODE_STEPS // 2
    precision = precision_of(bundle.manifest.precision)
    words = bound(replace(cost, tower=None), precision, device, Work(*image_size, tokens, past, past))
    picture = bound(cost, precision, device, Work(*image_size, tokens, past, past))
    return replace(words, vision_ms=picture.vision_ms)


def _graph_figures(
    bundle: Bundle, cache: Path, runtime: str, threads: int | None, tokens: int, repeats: int
) -> GraphFigures:
    config = parse_config(bundle.json("config.json"))
    room = tokens + _DECODE_STEPS + 1
    started = time.perf_counter()
    loaded = first_that_runs(
        candidates(bundle, runtime, cache), lambda choice: choice.load(bundle, config, room, threads)
    )
    load = time.perf_counter() - started
    try:
        return _measured(loaded.decoder, room, load, tokens, repeats)
    finally:
        loaded.close()


def _measured(decoder: Decoder, room: int, load: float, tokens: int, repeats: int) -> GraphFigures:
    states = decoder.states(1, room)
    numbers = np.random.default_rng(0)
    places = range(0, tokens, decoder.most_tokens)
    pieces = [decoder.call(states, min(decoder.most_tokens, tokens - at), 1) for at in places]
    step = decoder.call(states, 1, 1)
    for call in (*pieces, step):
        call.ids[:] = numbers.integers(0, decoder.vocabulary, call.ids.shape)
        call.cos[:] = 1.0
    for call, at in zip(pieces, places, strict=True):
        call.past_length[:] = at
    prefill, decode = [], []
    for turn in range(repeats + 1):
        states.begin()
        spent = _timed(lambda: [call.run() for call in pieces])
        steps = []
        for at in range(_DECODE_STEPS):
            step.past_length[:] = tokens + at
            steps.append(_timed(step.run))
        if turn:  # the first turn warms up
            prefill.append(spent)
            decode.append(statistics.median(steps))
    return GraphFigures(tokens, load, tokens / statistics.median(prefill), 1 / statistics.median(decode))


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _inspections(
    path: Path,
    cache: Path,
    bundle: Bundle,
    runtime: str,
    threads: int | None,
    image_size: tuple[int, int],
    repeats: int,
) -> tuple[InspectionFigures, int]:
    name, prompt, grammar = _question(bundle)
    sees = bundle.manifest.onnx is not None and bundle.manifest.onnx.vision is not None
    pictures = _pictures(image_size, repeats + 1) if sees else [[] for _ in range(repeats + 1)]
    started = time.perf_counter()
    with Engine.open(path, runtime, threads=threads, cache=cache) as engine:
        opened = time.perf_counter() - started
        first = engine.answer(pictures[0], prompt, grammar)
        others = [engine.answer(one, prompt, grammar) for one in pictures[1:]]
        again = [engine.answer(pictures[-1], prompt, grammar) for _ in range(repeats)]
        stated = engine.info.memory_bytes
    middle = [answer.timings for answer in others]
    figures = InspectionFigures(
        question=name,
        prompt_tokens=first.tokens.prefix + first.tokens.prompt,
        image_tokens=first.tokens.image,
        answer_tokens=len(first.token_ids),
        open_s=opened,
        first_ms=first.timings.total,
        repeated_ms=statistics.median(one.total for one in middle),
        again_ms=statistics.median(answer.timings.total for answer in again),
        vision_ms=statistics.median(one.vision for one in middle),
        prefill_ms=statistics.median(one.prefill for one in middle),
        decode_ms=statistics.median(one.decode for one in middle),
    )
    return figures, stated


def _question(bundle: Bundle) -> tuple[str, Prompt, Grammar]:
    """The engine's own first question; for a general one, a choice with words as a recipe has them."""
    if bundle.manifest.scope:
        case = cases_of(bundle.manifest)[0]
        return case.prompt.instruction, case.prompt, case.grammar
    words = (
        "You inspect caps on bottles. A cap is ok when it sits straight, is closed and has no crack, stain "
        "or misprint. Is the cap in the picture ok?"
    )
    return words, Prompt(words), Choice(("ok", "missing", "tilted", "cracked", "stained"))


def _pictures(size: tuple[int, int], count: int) -> list[list[Image]]:
    numbers = np.random.default_rng(0)
    width, height = size
    return [[numbers.integers(0, 256, (height, width, 3), dtype=np.uint8)] for _ in range(count)]
