"""Every kernel against the naive reference, over random shapes, ragged ends and both kinds of activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.plugins.gated_delta_net.naive import gated_delta_net
from lineside.plugins.gated_delta_net.tensors import ROUNDING

pytestmark = pytest.mark.host

NAMES = ("decode", "recurrent", "prepare", "solve", "scan")
SHAPES = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 2),
        "key_heads": st.integers(1, 3),
        "share": st.integers(1, 3),
        "tokens": st.integers(1, 140) | st.sampled_from([3, 4, 63, 64, 65, 128]),
        "seed": st.integers(0, 2**32 - 1),
        "order": st.sampled_from([0, 1, 2, 3]),
    }
)


def sizes_of(shape: dict[str, int], head: int, name: str) -> dict[str, int]:
    value_heads = shape["key_heads"] * shape["share"]
    channels = (2 * shape["key_heads"] + value_heads) * head
    tokens = 1 if name == "decode" else shape["tokens"]
    return {"B": shape["batch"], "T": tokens, "C": channels, "HV": value_heads}


def assert_kernel_is_right(layer: Any, name: str, sizes: dict[str, int], seed: int, distance: Any) -> None:
    kernel, variant = layer.kernel(name), layer.variant()
    case = kernel.draw(np.random.default_rng(seed), sizes, variant)
    found, expected = layer.one(name, case.inputs), kernel.naive(case.inputs, variant)

    assert set(found) == set(expected)
    apart = {tensor: distance(found[tensor], expected[tensor]) for tensor in expected}
    assert all(far <= case.tolerance for far in apart.values()), apart


@pytest.mark.parametrize("name", NAMES)
@given(shape=SHAPES, activation=st.sampled_from(["float16", "bfloat16"]))
@settings(max_examples=25)
def test_any_shape(layer_of: Any, distance: Any, name: str, shape: dict[str, int], activation: str) -> None:
    layer = layer_of(activation=activation, order=shape["order"])
    assert_kernel_is_right(layer, name, sizes_of(shape, 32, name), shape["seed"], distance)


@pytest.mark.parametrize("name", ["decode", "recurrent", "prepare"])
@given(shape=SHAPES)
@settings(max_examples=15)
def test_float32_activations_show_the_arithmetic_alone(
    layer_of: Any, distance: Any, name: str, shape: dict[str, int]
) -> None:
    layer = layer_of(activation="float32", order=shape["order"])
    assert_kernel_is_right(layer, name, sizes_of(shape, 32, name), shape["seed"], distance)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", [64, 128])
def test_larger_heads(layer_of: Any, distance: Any, name: str, head: int) -> None:
    shape = {"batch": 1, "key_heads": 1, "share": 2, "tokens": 71}
    assert_kernel_is_right(layer_of(head=head), name, sizes_of(shape, head, name), 5, distance)


@pytest.mark.parametrize("value_heads", [16, 32])
def test_decode_of_the_published_models(layer_of: Any, distance: Any, value_heads: int) -> None:
    shape = {"batch": 1, "key_heads": 16, "share": value_heads // 16, "tokens": 1}
    layer = layer_of(head=128, activation="bfloat16")
    assert_kernel_is_right(layer, "decode", sizes_of(shape, 128, "decode"), 6, distance)


@given(shape=SHAPES, activation=st.sampled_from(["float16", "bfloat16"]))
@settings(max_examples=20)
def test_three_nodes_make_one_layer(
    layer_of: Any, distance: Any, shape: dict[str, int], activation: str
) -> None:
    layer = layer_of(activation=activation, order=shape["order"])
    inputs = layer.draw(
        shape["seed"],
        tokens=shape["tokens"],
        batch=shape["batch"],
        key_heads=shape["key_heads"],
        value_heads=shape["key_heads"] * shape["share"],
    )
    found, expected = layer.chunked(inputs), gated_delta_net(inputs)

    apart = {tensor: distance(found[tensor], expected[tensor]) for tensor in expected}
    assert all(far <= 4 * ROUNDING[activation] for far in apart.values()), apart
