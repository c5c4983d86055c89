"""Gates, states and inputs at the edge of what numbers can be; and 16,384 tokens in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lineside.plugins.gated_delta_net.naive import gated_delta_net
from lineside.plugins.gated_delta_net.tensors import ROUNDING

pytestmark = pytest.mark.host

WAYS = ["recurrent", "chunked"]
TOKENS = 90


def everywhere(inputs: dict[str, NDArray[Any]], **values: float) -> None:
    for name, value in values.items():
        inputs[name] = np.full_like(inputs[name], value)


@pytest.fixture(params=["float16", "bfloat16"])
def layer(layer_of: Any, request: pytest.FixtureRequest) -> Any:
    """Heads of 32 numbers."""
    return layer_of(activation=request.param)


@pytest.fixture
def inputs(layer: Any) -> dict[str, NDArray[Any]]:
    """A prompt of two key heads and four value heads."""
    return layer.draw(11, tokens=TOKENS, key_heads=2, value_heads=4)


def assert_right(
    layer: Any, way: str, inputs: dict[str, NDArray[Any]], distance: Any, looser: float = 1.0
) -> Any:
    found, expected = getattr(layer, way)(inputs), gated_delta_net(inputs)
    bound = looser * (4 if way == "chunked" else 1) * ROUNDING[layer.activation]
    for name in expected:
        assert distance(found[name], expected[name]) <= bound, name
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("log_rate", "a"),
    [(-20.0, -30.0), (2.8, 60.0), (5.0, 200.0), (2.8, -30.0)],
    ids=["none", "all", "more", "little"],
)
def test_a_token_may_forget_nothing_or_everything(
    layer: Any, inputs: dict[str, NDArray[Any]], distance: Any, way: str, log_rate: float, a: float
) -> None:
    everywhere(inputs, A_log=log_rate, a=a, dt_bias=0.0)
    assert_right(layer, way, inputs, distance)


@pytest.mark.parametrize("way", WAYS)
def test_forgetting_may_change_from_token_to_token(
    layer: Any, inputs: dict[str, NDArray[Any]], distance: Any, way: str
) -> None:
    everywhere(inputs, A_log=2.5, dt_bias=0.0)
    inputs["a"][:, ::7] = 100.0  # everything is lost, again and again
    inputs["a"][:, 1::7] = -20.0
    assert_right(layer, way, inputs, distance)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("b", [-60.0, 60.0])
def test_a_token_may_write_nothing_or_replace_what_was_there(
    layer: Any, inputs: dict[str, NDArray[Any]], distance: Any, way: str, b: float
) -> None:
    everywhere(inputs, b=b)
    found = assert_right(layer, way, inputs, distance)
    if b < 0 and way == "recurrent":
        everywhere(inputs, A_log=-100.0)  # nothing forgotten either
        found = layer.recurrent(inputs)
        np.testing.assert_allclose(found["next_state"], inputs["state"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("way", WAYS)
def test_the_same_key_again_and_again(
    layer: Any, inputs: dict[str, NDArray[Any]], distance: Any, way: str
) -> None:
    """The worst a chunk's triangular system can be: every key is every other."""
    inputs["qkv"][:] = inputs["qkv"][:, :1]
    everywhere(inputs, b=8.0, a=-30.0, A_log=-20.0)
    assert_right(layer, way, inputs, distance, looser=2.0)


@pytest.mark.parametrize("way", WAYS)
def test_keys_of_no_length(layer: Any, inputs: dict[str, NDArray[Any]], distance: Any, way: str) -> None:
    everywhere(inputs, qkv=0.0, conv_state=0.0)
    found = assert_right(layer, way, inputs, distance)
    assert not np.asarray(found["y"], np.float32).any()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_values_small_and_large(
    layer: Any, inputs: dict[str, NDArray[Any]], distance: Any, way: str, scale: float
) -> None:
    inputs["conv_weight"][128:] *= scale  # of the values' channels
    inputs["state"] *= np.float32(scale)
    assert_right(layer, way, inputs, distance)


@pytest.mark.parametrize("size", [1e30, 1e-40])
def test_a_state_blown_up_or_below_normal_numbers(
    layer: Any, inputs: dict[str, NDArray[Any]], distance: Any, size: float
) -> None:
    """The recurrent kernel works in float32 throughout; only the norm's square may then exceed it."""
    inputs["state"] = (inputs["state"] * np.float32(size)).astype(np.float32)
    everywhere(inputs, b=-120.0, A_log=-20.0)
    found, expected = layer.recurrent(inputs), gated_delta_net(inputs)

    assert distance(found["next_state"], expected["next_state"]) <= 1e-5
    assert np.any(found["next_state"])


def test_a_large_state_in_chunks_needs_bfloat16(layer_of: Any, distance: Any) -> None:
    """As an operand the state has the activation's type: float16 ends at 65,504, as __init__ says."""
    layer = layer_of(activation="bfloat16")
    inputs = layer.draw(12, tokens=TOKENS, key_heads=1, value_heads=1)
    inputs["state"] *= np.float32(1e6)
    assert_right(layer, "chunked", inputs, distance)


def test_what_is_not_a_number_stays_in_its_sequence(layer_of: Any) -> None:
    layer = layer_of()
    inputs = layer.draw(13, tokens=70, batch=2, key_heads=1, value_heads=2)
    healthy = {way: getattr(layer, way)(inputs) for way in WAYS}
    inputs["qkv"][0, 40, 32] = np.nan  # of a key

    for way in WAYS:
        spoilt = getattr(layer, way)(inputs)
        assert np.isnan(np.asarray(spoilt["y"][0, 40:], np.float32)).any()
        assert np.isnan(spoilt["next_state"][0]).any()
        for name in ("y", "next_state"):
            np.testing.assert_array_equal(spoilt[name][1], healthy[way][name][1])


@pytest.mark.parametrize(
    ("way", "activation", "forgets"),
    [
        ("recurrent", "float32", True),
        ("recurrent", "float32", False),
        ("recurrent", "float16", False),
        ("chunked", "float16", False),
        ("chunked", "bfloat16", True),
        ("chunked", "bfloat16", False),
    ],
)
def test_errors_do_not_grow_over_16384_tokens(
    layer_of: Any, distance: Any, way: str, activation: str, forgets: bool
) -> None:
    layer = layer_of(activation=activation)
    inputs = layer.draw(14, tokens=16384)
    if not forgets:
        everywhere(inputs, A_log=-9.0, a=0.0, dt_bias=0.0)  # a token fades to 37 % over some 12,000 others
    found, expected = getattr(layer, way)(inputs), gated_delta_net(inputs)

    bound = (4 if way == "chunked" else 1) * ROUNDING[activation]
    quarters = [
        distance(*(np.split(np.asarray(y, np.float64), 4, axis=1)[i] for y in (found["y"], expected["y"])))
        for i in range(4)
    ]
    assert max(quarters) <= bound, quarters
    assert quarters[3] <= 3 * quarters[0] + ROUNDING[activation], quarters
    assert distance(found["next_state"], expected["next_state"]) <= bound
