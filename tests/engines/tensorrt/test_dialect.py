"""The TensorRT dialect's arithmetic, in ONNX Runtime: it says what the plain dialect says.

Tolerances are relative to the largest logit. float32: sums in another order, and a delta rule in chunks.
float16: products and attention of 11 bits over five layers of random weights, whose logits pass through tops
that real models do not have.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_runner import GraphRunner, relative_error
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qwen_cases import MODELS, Model, prompt_of, write_checkpoint
from rounded_tensors import RoundedTensors
from tensorrt_graphs import Speech, TensorRtRunner, session_of

from lineside.engines.build import Storage, build_graphs
from lineside.engines.config import LinearAttentionConfig
from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects.delta_rule import CHUNK, many_tokens, one_token
from lineside.engines.graph.dialects.tensorrt import TensorRtDialect
from lineside.engines.tensorrt.describe import vision_graph
from lineside.engines.tensorrt.stored_graph import StoredGraph
from lineside.engines.weights import open_checkpoint

TOLERANCES = {"float32": 2e-5, "float16": 2e-2}
STEPS = 6
RunnerOf = Callable[..., tuple[GraphRunner, GraphRunner]]


def speech(kind: Any, attention: Any = "native") -> Speech:
    return Speech(
        TensorRtDialect(call="step", kind=kind, attention=attention),
        TensorRtDialect(call="prefill", kind=kind, attention=attention),
    )


@pytest.fixture(scope="module")
def runner_of(tmp_path_factory: pytest.TempPathFactory) -> RunnerOf:
    """(graphs as a bundle has them, the plain reference of the same rounded weights)."""
    made: dict[tuple[Model, str], tuple[GraphRunner, GraphRunner]] = {}

    def find(model: Model, precision: Any = "fp32") -> tuple[GraphRunner, GraphRunner]:
        if (model, precision) not in made:
            place = tmp_path_factory.mktemp("graphs")
            checkpoint = write_checkpoint(model, place / "checkpoint")
            files = build_graphs(checkpoint, place / "stored", storage=Storage(precision))
            tensors = RoundedTensors(open_checkpoint(checkpoint), files.choices)
            plain = build_graphs(checkpoint, place / "plain", "plain", tensors=tensors)
            made[model, precision] = (GraphRunner(files), GraphRunner(plain))
        return made[model, precision]

    return find


def compare(stored: GraphRunner, plain: GraphRunner, said: Speech) -> tuple[float, float]:
    """Errors of a prefill with pictures, and of the worst of the steps after it."""
    runner = TensorRtRunner(stored, said)
    part = plain.prepare(prompt_of("images"))
    count = part.ids.shape[1]
    wanted, reference = plain.step(part, [0], plain.empty_states(), [count - 1])
    logits, states = runner.call(part, [0], runner.empty_states())
    prefill = relative_error(logits, wanted[:, 0])
    worst = 0.0
    for i in range(STEPS):
        text = plain.text_part([[int(wanted[0, -1].argmax())]], [part.next_position + i])
        wanted, reference = plain.step(text, [count + i], reference)
        logits, states = runner.call(text, [count + i], states)
        worst = max(worst, relative_error(logits, wanted[:, 0]))
    return prefill, worst


@pytest.mark.parametrize("kind", ["float32", "float16"])
@pytest.mark.parametrize("model", [MODELS[0], MODELS[-1]], ids=lambda model: model.name)
def test_prefill_and_steps_say_what_the_plain_dialect_says(
    runner_of: RunnerOf, model: Model, kind: str
) -> None:
    prefill, steps = compare(*runner_of(model), speech(kind))
    assert prefill < TOLERANCES[kind]
    assert steps < TOLERANCES[kind]


@pytest.mark.parametrize("precision", ["int4", "int8"])
def test_integers_are_those_of_the_bundle(runner_of: RunnerOf, precision: str) -> None:
    """In float32 nothing is left but rounding: zero points, ragged blocks and experts included."""
    prefill, steps = compare(*runner_of(Model("moe", 2, tied=True), precision), speech("float32"))
    assert prefill < TOLERANCES["float32"]
    assert steps < TOLERANCES["float32"]


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_attention_as_products_is_attention(runner_of: RunnerOf, kind: str) -> None:
    prefill, steps = compare(*runner_of(Model("dense", 2, tied=True)), speech(kind, "products"))
    assert prefill < TOLERANCES[kind]
    assert steps < TOLERANCES[kind]


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cuts=st.sets(st.integers(1, 34), max_size=4))
def test_a_prompt_may_be_cut_anywhere(runner_of: RunnerOf, cuts: set[int]) -> None:
    """Between chunks and inside them; a piece of one token goes through the prefill as well as any."""
    stored, plain = runner_of(Model("moe", 2, tied=True))
    runner = _cached(stored)
    part = plain.prepare(prompt_of("images"))
    whole, wanted = runner.prefill(part, [0], runner.empty_states())
    edges = [0, *sorted(cuts), part.ids.shape[1]]
    logits, states = whole, runner.empty_states()
    for start, end in pairwise(edges):
        logits, states = runner.prefill(plain.cut(part, start, end), [start], states)
    assert relative_error(logits, whole) < TOLERANCES["float32"]
    for name, state in states.items():
        assert relative_error(state, wanted[name]) < TOLERANCES["float32"], name


def test_rows_with_pasts_of_different_lengths_do_not_see_each_other(runner_of: RunnerOf) -> None:
    stored, plain = runner_of(Model("moe", 2, tied=True))
    runner = _cached(stored)
    rng = np.random.default_rng(3)
    alone, pasts = [], []
    for length in (2, 9, 17):
        ids = rng.integers(0, 100, length).tolist()
        _, states = runner.prefill(plain.text_part([ids], [0]), [0], runner.empty_states())
        pasts.append(states)
        alone.append(runner.call(plain.text_part([[7]], [length]), [length], states))
    together = {name: np.concatenate([past[name] for past in pasts]) for name in pasts[0]}
    part = plain.text_part([[7], [7], [7]], [2, 9, 17])
    logits, states = runner.call(part, [2, 9, 17], together)
    for row, (wanted, after) in enumerate(alone):
        assert relative_error(logits[row], wanted[0]) < TOLERANCES["float32"]
        for name, state in states.items():
            assert relative_error(state[row], after[name][0]) < TOLERANCES["float32"], name


@pytest.mark.parametrize("precision", ["fp32", "int4"])
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_the_tower_for_one_grid_says_what_the_tower_for_any_says(
    runner_of: RunnerOf, kind: Any, precision: str
) -> None:
    """An int4 engine's tower has blocks of 8 bits, which become half precision."""
    stored, plain = runner_of(Model("dense", 1, tied=False), precision)
    assert stored.files.vision is not None
    assert stored.config.vision is not None
    for picture in prompt_of("images").pictures:
        grid = (picture.grid_h, picture.grid_w)
        dialect = TensorRtDialect(kind=kind, exact_kind=kind)
        graph = vision_graph(dialect, StoredGraph(stored.files.vision), None, stored.config.vision, grid)
        assert [one.name for one in graph.model().graph.input] == ["pixel_values"]
        (found,) = session_of(graph.model()).run(None, {"pixel_values": picture.values})
        assert relative_error(found, plain.embed_one(picture)) < {"float32": 1e-5, "float16": 5e-3}[kind]


@pytest.mark.parametrize("alike", [False, True], ids=["drawn", "alike"])
@pytest.mark.parametrize("tokens", [1, CHUNK - 1, CHUNK, 3 * CHUNK + 5])
def test_chunks_are_the_delta_rule(tokens: int, alike: bool) -> None:
    """Against the rule token by token in float64; keys all alike and nothing fading is the hard case.

    The inverse's intermediate powers then exceed its result by thousands, and float32 has seven digits.
    """
    sizes = LinearAttentionConfig(2, 2, 8, 12, 4)
    rng = np.random.default_rng(tokens)
    shape = (1, tokens, 2)
    q, k = (_unit(rng.standard_normal((*shape, 8))) for _ in range(2))
    v = rng.standard_normal((*shape, 12))
    log_decay, beta = -rng.uniform(0.001, 3.0, shape), rng.uniform(0, 1, shape)
    if alike:
        k, log_decay, beta = np.broadcast_to(k[:, :1], k.shape), np.zeros(shape), np.full(shape, 0.99)
    state = rng.standard_normal((1, 2, 8, 12))
    o, after = _rule(many_tokens, sizes, q, k, v, log_decay, beta, state)
    wanted, wanted_after = _token_by_token(q, k, v, log_decay, beta, state)
    tolerance = 2e-3 if alike else 1e-5
    assert relative_error(o.reshape(wanted.shape), wanted) < tolerance
    assert relative_error(after, wanted_after) < tolerance
    if tokens == 1:
        o, after = _rule(one_token, sizes, q, k, v, log_decay, beta, state)
        assert relative_error(o.reshape(wanted.shape), wanted) < 1e-6
        assert relative_error(after, wanted_after) < 1e-6


def _rule(
    rule: Any, sizes: LinearAttentionConfig, *arrays: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], ...]:
    g = GraphBuilder("rule")
    names = ("q", "k", "v", "log_decay", "beta", "state")
    tokens = 1 if rule is one_token else "T"
    inputs = [
        g.input(name, "float32", [1, tokens, *array.shape[2:]] if name != "state" else list(array.shape))
        for name, array in zip(names, arrays, strict=True)
    ]
    o, after = rule(g, *inputs, sizes)
    g.output("o", o, "float32", [1, tokens, sizes.value_width])
    g.output("after", after, "float32", list(arrays[-1].shape))
    feeds = {name: array.astype(np.float32) for name, array in zip(names, arrays, strict=True)}
    return tuple(session_of(g.model()).run(None, feeds))


def _token_by_token(
    q: Any, k: Any, v: Any, log_decay: Any, beta: Any, state: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    out = []
    for t in range(q.shape[1]):
        state = state * np.exp(log_decay[:, t])[..., None, None]
        surprise = beta[:, t][..., None] * (v[:, t] - np.einsum("bhkv,bhk->bhv", state, k[:, t]))
        state = state + np.einsum("bhk,bhv->bhkv", k[:, t], surprise)
        out.append(np.einsum("bhkv,bhk->bhv", state, q[:, t]))
    return np.stack(out, axis=1), state


def _unit(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


_RUNNERS: dict[Path, TensorRtRunner] = {}


def _cached(stored: GraphRunner) -> TensorRtRunner:
    return _RUNNERS.setdefault(stored.files.decoder, TensorRtRunner(stored, speech("float32")))
