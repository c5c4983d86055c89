"""Where a prompt is cut changes nothing: prefill then decode is decode from the start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.plugins.gated_delta_net.naive import gated_delta_net
from lineside.plugins.gated_delta_net.tensors import ROUNDING

pytestmark = pytest.mark.host


def assert_same_bits(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    share=st.integers(1, 2),
    activation=st.sampled_from(["float32", "float16", "bfloat16"]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=20)
def test_a_prompt_cut_anywhere_gives_the_same_bits(
    layer_of: Any, lengths: list[int], share: int, activation: str, seed: int
) -> None:
    layer = layer_of(activation=activation)
    inputs = layer.draw(seed, tokens=sum(lengths), batch=2, key_heads=2, value_heads=2 * share)
    whole = layer.recurrent(inputs)

    assert_same_bits(layer.pieces(inputs, lengths, layer.recurrent), whole)
    assert_same_bits(layer.decoded(inputs), whole)


def test_it_holds_for_heads_of_128(layer_of: Any) -> None:
    layer = layer_of(head=128, activation="bfloat16")
    inputs = layer.draw(2, tokens=21, key_heads=1, value_heads=2)

    assert_same_bits(layer.decoded(inputs), layer.recurrent(inputs))


@pytest.mark.parametrize("lengths", [[64, 64, 23], [128, 23], [64, 87]])
def test_chunks_may_be_cut_between_them(layer_of: Any, lengths: list[int]) -> None:
    layer = layer_of()
    inputs = layer.draw(3, tokens=151, batch=2, key_heads=1, value_heads=2)

    assert_same_bits(layer.pieces(inputs, lengths, layer.chunked), layer.chunked(inputs))


@pytest.mark.parametrize("activation", ["float16", "bfloat16"])
def test_chunks_then_single_tokens_are_the_whole(layer_of: Any, distance: Any, activation: str) -> None:
    layer = layer_of(activation=activation)
    inputs = layer.draw(4, tokens=100, key_heads=1, value_heads=2)

    def way(piece: dict[str, Any]) -> dict[str, Any]:
        return layer.chunked(piece) if piece["qkv"].shape[1] > 1 else layer.one("decode", piece)

    found = layer.pieces(inputs, [90, *[1] * 10], way)
    expected = gated_delta_net(inputs)

    for name in expected:
        assert distance(found[name], expected[name]) <= 4 * ROUNDING[activation], name


@pytest.mark.parametrize("name", ["decode", "recurrent", "prepare", "solve", "scan"])
def test_the_order_of_threads_changes_no_bit(layer_of: Any, name: str) -> None:
    sizes = {"B": 1, "T": 1 if name == "decode" else 75, "C": 4 * 32, "HV": 2}
    layer = layer_of()
    kernel, variant = layer.kernel(name), layer.variant()
    inputs = kernel.draw(np.random.default_rng(7), sizes, variant).inputs
    expected = layer.one(name, inputs)

    for order in range(1, 6):
        assert_same_bits(layer_of(order=order).one(name, inputs), expected)
