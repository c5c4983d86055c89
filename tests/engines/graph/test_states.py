"""What states promise.

Prompts may be cut anywhere, rows of a batch do not see each other, and buffers may be shared.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from graph_runner import GraphRunner, Prepared, States, relative_error
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qwen_cases import MODELS, Model, prompt_of

MODEL = Model("moe", 2, tied=False)
CLOSE = 1e-4
quick = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
speech = pytest.mark.parametrize(
    ("dialect", "operator"),
    [
        ("onnxruntime", "linear_attention"),
        ("onnxruntime", "gated_delta_net"),
        ("plain", "linear_attention"),
    ],
)


def _whole(runner: GraphRunner, part: Prepared) -> tuple[np.ndarray[Any, Any], States]:
    return runner.step(part, [0], runner.empty_states())


@speech
@quick
@given(cuts=st.sets(st.integers(1, 34), max_size=5))
def test_a_prompt_cut_anywhere_gives_what_it_gives_whole(
    runner_of: Any, dialect: str, operator: str, cuts: set[int]
) -> None:
    """Also between and inside pictures: prefix snapshots and forced tokens rest on this."""
    runner: GraphRunner = runner_of(MODEL, dialect, operator)
    part = runner.prepare(prompt_of("images"))
    whole, whole_states = _whole(runner, part)
    edges = [0, *sorted(cuts), part.ids.shape[1]]
    states, logits = runner.empty_states(), []
    for start, end in pairwise(edges):
        piece, states = runner.step(runner.cut(part, start, end), [start], states)
        logits.append(piece)
    assert relative_error(np.concatenate(logits, axis=1), whole) < CLOSE
    for name, state in states.items():
        assert relative_error(state, whole_states[name]) < CLOSE, name


@speech
@quick
@given(
    lengths=st.lists(st.integers(0, 20), min_size=2, max_size=5),
    new=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_rows_with_pasts_of_different_lengths_equal_the_rows_alone(
    runner_of: Any, dialect: str, operator: str, lengths: list[int], new: int, seed: int
) -> None:
    """One step of a batch whose rows have seen 0, some, or many tokens.

    A graph for CUDA takes one new token a row (see the dialect): there is no such ONNX Runtime yet.
    """
    runner: GraphRunner = runner_of(MODEL, dialect, operator)
    new = new if operator == "linear_attention" else 1
    rng = np.random.default_rng(seed)
    pasts, wanted = [], []
    continuations = rng.integers(0, 100, (len(lengths), new)).tolist()
    for length, ids in zip(lengths, continuations, strict=True):
        states = runner.empty_states()
        if length:
            _, states = runner.step(
                runner.text_part([rng.integers(0, 100, length).tolist()], [0]), [0], states
            )
        pasts.append(states)
        wanted.append(runner.step(runner.text_part([ids], [length]), [length], states))
    found, states = runner.step(runner.text_part(continuations, lengths), lengths, _stacked(pasts))
    for row, (logits, alone) in enumerate(wanted):
        assert relative_error(found[row], logits[0]) < CLOSE
        for name, state in states.items():
            if name.endswith(("conv", "recurrent")):
                assert relative_error(state[row], alone[name][0]) < CLOSE, name


def _stacked(pasts: list[States]) -> States:
    """Rows below each other; caches as long as the longest, with rubbish behind the ends of shorter ones."""
    stacked = {}
    for name in pasts[0]:
        rows = [p[name] for p in pasts]
        if name.endswith(("key", "value")):
            longest = max(r.shape[2] for r in rows)
            rows = [
                np.pad(r, ((0, 0), (0, 0), (0, longest - r.shape[2]), (0, 0)), constant_values=7.0)
                for r in rows
            ]
        stacked[name] = np.concatenate(rows)
    return stacked


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("operator", ["linear_attention", "gated_delta_net"])
def test_states_bound_in_place_equal_states_apart(runner_of: Any, model: Model, operator: str) -> None:
    """One buffer as past and present, as a session holds it: nothing is read after it was overwritten."""
    runner: GraphRunner = runner_of(model, "onnxruntime", operator)
    part = runner.prepare(prompt_of("image"))
    apart, shared = runner.empty_states(), runner.empty_states()
    values = {name: ort.OrtValue.ortvalue_from_numpy(state) for name, state in shared.items()}
    length = 0
    for step in range(8):
        logits, apart = runner.step(part, [length], apart)
        bound = _bound(runner, part, length, values)
        np.testing.assert_array_equal(bound, logits)
        for name, value in values.items():
            np.testing.assert_array_equal(value.numpy(), apart[name], err_msg=name)
        length += part.ids.shape[1]
        part = runner.text_part([[int(logits[0, -1].argmax())]], [part.next_position + step])


def _bound(
    runner: GraphRunner, part: Prepared, length: int, values: dict[str, ort.OrtValue]
) -> np.ndarray[Any, Any]:
    binding = runner.decoder.io_binding()
    for name, array in {
        "input_ids": part.ids,
        "image_embeds": part.image_embeds,
        "image_index": part.image_index,
        "rope_cos": part.cos,
        "rope_sin": part.sin,
        "past_length": np.array([length], np.int64),
        "logit_positions": np.arange(part.ids.shape[1]),
    }.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(array))
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(name.replace("past.", "present."), value)
    binding.bind_output("logits", "cpu")
    runner.decoder.run_with_iobinding(binding)
    found = dict(zip((o.name for o in runner.decoder.get_outputs()), binding.get_outputs(), strict=True))
    return np.asarray(found["logits"].numpy())


def test_a_cache_of_any_capacity_gives_the_same(runner_of: Any) -> None:
    """What lies in the cache beyond a row's length does not count, be it zeros, rubbish or much of it."""
    runner: GraphRunner = runner_of(MODEL)
    part = runner.prepare(prompt_of("image"))
    wanted, _ = _whole(runner, part)
    for capacity, filling in ((part.ids.shape[1], 0.0), (500, 9.0)):
        states = runner.empty_states()
        for name, state in states.items():
            if name.endswith(("key", "value")):
                shape = (*state.shape[:2], capacity, state.shape[3])
                states[name] = np.full(shape, filling, np.float32)
        logits, _ = runner.step(part, [0], states)
        assert relative_error(logits, wanted) < CLOSE


@speech
def test_only_the_asked_positions_come_out_in_the_asked_order(
    runner_of: Any, dialect: str, operator: str
) -> None:
    runner: GraphRunner = runner_of(MODEL, dialect, operator)
    part = runner.prepare(prompt_of("text"))
    every, _ = _whole(runner, part)
    some, _ = runner.step(part, [0], runner.empty_states(), [12, 0, 12])
    assert some.shape == (1, 3, every.shape[2])
    assert relative_error(some, every[:, [12, 0, 12]]) < CLOSE


@pytest.mark.parametrize("dialect", ["onnxruntime", "plain"])
def test_pictures_in_one_call_do_not_see_each_other(runner_of: Any, dialect: str) -> None:
    runner: GraphRunner = runner_of(MODEL, dialect)
    (clip,) = prompt_of("clip").pictures
    together = runner.embed_one(clip)
    for i in range(len(clip.values)):
        alone = runner.embed_one(type(clip)(clip.values[i : i + 1], clip.grid_h, clip.grid_w))
        assert relative_error(together[i : i + 1], alone) < CLOSE


@pytest.mark.parametrize("dialect", ["onnxruntime", "plain"])
def test_a_picture_changes_what_is_said_and_text_rows_ignore_pictures(runner_of: Any, dialect: str) -> None:
    runner: GraphRunner = runner_of(MODEL, dialect)
    part = runner.prepare(prompt_of("image"))
    seen, _ = _whole(runner, part)
    blind, _ = _whole(runner, _with(part, image_embeds=np.zeros_like(part.image_embeds)))
    assert relative_error(blind[:, -1], seen[:, -1]) > 0.01
    text = runner.prepare(prompt_of("text"))
    plain, _ = _whole(runner, text)
    beside, _ = _whole(runner, _with(text, image_embeds=part.image_embeds))
    np.testing.assert_array_equal(beside, plain)


def _with(part: Prepared, *, image_embeds: np.ndarray[Any, Any]) -> Prepared:
    return Prepared(part.ids, image_embeds, part.image_index, part.cos, part.sin, part.next_position)
