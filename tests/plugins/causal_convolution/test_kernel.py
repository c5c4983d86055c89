"""The causal convolution's CUDA source, run on the CPU: the formula, the state, and numbers that are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from on_host import agree, drawn, need_compiler, same_in_any_order

from lineside.plugins.causal_convolution.shapes import KERNEL, TOKENS, WIDTH
from lineside.plugins.host.build import Mode
from lineside.plugins.host.run import run
from lineside.plugins.operator import Variant

FLOAT16, BFLOAT16 = KERNEL.variants


@pytest.fixture(autouse=True, scope="module")
def _compiler() -> None:
    need_compiler()


@pytest.mark.parametrize("variant", KERNEL.variants, ids=lambda variant: variant.name)
@pytest.mark.parametrize("tokens", [1, 2, 3, 4, TOKENS - 1, TOKENS, TOKENS + 1, 3 * TOKENS])
def test_it_is_the_formula(variant: Variant, tokens: int) -> None:
    agree(KERNEL, variant, drawn(KERNEL, variant, B=1, T=tokens, C=130))


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    tokens=st.integers(1, 50),
    channels=st.integers(1, 530),
    seed=st.integers(0, 99),
    variant=st.sampled_from(KERNEL.variants),
)
def test_of_any_shape(batch: int, tokens: int, channels: int, seed: int, variant: Variant) -> None:
    agree(KERNEL, variant, drawn(KERNEL, variant, seed, B=batch, T=tokens, C=channels))


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 39), seed=st.integers(0, 99))
def test_a_prompt_in_two_pieces_gives_the_bits_of_one(cut: int, seed: int) -> None:
    whole = drawn(KERNEL, BFLOAT16, seed, B=2, T=40, C=6)
    at_once = run(KERNEL, BFLOAT16, whole.inputs)

    first = run(KERNEL, BFLOAT16, {**whole.inputs, "x": whole.inputs["x"][:, :cut]})
    rest = {**whole.inputs, "x": whole.inputs["x"][:, cut:], "state": first["present"]}
    second = run(KERNEL, BFLOAT16, rest)

    assert np.concatenate([first["y"], second["y"]], axis=1).tobytes() == at_once["y"].tobytes()
    assert second["present"].tobytes() == at_once["present"].tobytes()


def test_token_by_token_is_the_prompt() -> None:
    whole = drawn(KERNEL, FLOAT16, B=1, T=9, C=33)
    state, steps = whole.inputs["state"], []
    for token in range(9):
        step = run(
            KERNEL, FLOAT16, {**whole.inputs, "x": whole.inputs["x"][:, token : token + 1], "state": state}
        )
        steps.append(step["y"])
        state = step["present"]

    assert np.concatenate(steps, axis=1).tobytes() == run(KERNEL, FLOAT16, whole.inputs)["y"].tobytes()


def test_the_state_is_the_last_inputs_bit_for_bit() -> None:
    case = drawn(KERNEL, BFLOAT16, B=2, T=2, C=5)

    kept = run(KERNEL, BFLOAT16, case.inputs)["present"]

    assert kept[:, 0].tobytes() == case.inputs["state"][:, WIDTH - 2].tobytes()
    assert kept[:, 1:].tobytes() == case.inputs["x"].tobytes()


def test_what_is_no_number_spoils_its_channel_for_as_long_as_it_is_seen() -> None:
    case = drawn(KERNEL, FLOAT16, B=1, T=12, C=4)
    case.inputs["x"][0, 5, 2] = np.nan

    found = run(KERNEL, FLOAT16, case.inputs)

    spoilt = np.zeros((12, 4), bool)
    spoilt[5 : 5 + WIDTH, 2] = True
    assert (np.isnan(found["y"][0]) == spoilt).all()
    assert np.isfinite(found["present"]).all()


@pytest.mark.parametrize("channels", [4, 5])
def test_what_is_no_number_stays_in_the_state(channels: int) -> None:
    case = drawn(KERNEL, FLOAT16, B=1, T=2, C=channels)
    case.inputs["x"][0, 1, channels - 1] = np.inf

    found = run(KERNEL, FLOAT16, case.inputs)

    assert np.isinf(found["present"][0, 2, channels - 1])
    assert not np.isfinite(found["y"][0, 1, channels - 1])


def _constant(x: float, tap: float) -> dict[str, NDArray[np.float16]]:
    shape = {"x": ((1, 4, 2), x), "weight": ((2, 1, WIDTH), tap), "state": ((1, WIDTH - 1, 2), x)}
    return {name: np.full(size, value, np.float16) for name, (size, value) in shape.items()}


def test_sums_beyond_the_type_are_infinite_and_large_negative_ones_vanish() -> None:
    assert (run(KERNEL, FLOAT16, _constant(60000, 60000))["y"] == np.inf).all()
    assert (run(KERNEL, FLOAT16, _constant(60000, -60000))["y"] == 0).all()
    assert np.isnan(run(KERNEL, FLOAT16, _constant(np.inf, -1))["y"]).all()


def test_the_same_bits_in_any_order() -> None:
    same_in_any_order(KERNEL, FLOAT16, drawn(KERNEL, FLOAT16, B=2, T=20, C=300))


@pytest.mark.parametrize("mode", [Mode.ADDRESS, Mode.THREAD], ids=lambda mode: mode.value)
@pytest.mark.parametrize("channels", [6, 7])
def test_nothing_is_read_or_written_that_is_not_its_own(mode: Mode, channels: int) -> None:
    agree(KERNEL, FLOAT16, drawn(KERNEL, FLOAT16, B=2, T=19, C=channels), mode=mode)


def test_inputs_too_small_for_normal_numbers_are_kept() -> None:
    case = drawn(KERNEL, FLOAT16, B=1, T=5, C=64)
    tiny = {name: case.inputs[name] * np.float16(1e-6) for name in ("x", "state")}

    # A step of float16 there is 6e-8.
    found = agree(KERNEL, FLOAT16, replace(case, inputs={**case.inputs, **tiny}, tolerance=0.05))

    assert np.abs(found["y"]).max() > 0
