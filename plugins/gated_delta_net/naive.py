"""The Gated DeltaNet layer between its projections, token by token, in float64: what all is judged by.

Shapes: B sequences, T tokens, HK key heads, HV value heads, D the head size; C = (2 HK + HV) D channels,
which are all queries, then all keys, then all values. The state is [B, HV, D values, D keys].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EPSILON = 1e-6
TAPS = 4


def gated_delta_net(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """One call of the layer, of any length: y [B, T, HV*D], and both states after the last token.

    Inputs: qkv [B, T, C], z [B, T, HV*D], b and a [B, T, HV], conv_weight [C, 1, 4], A_log and dt_bias [HV],
    norm_weight [D], conv_state [B, 3, C], state [B, HV, D, D]; any float dtype.
    """
    given = {name: np.asarray(array, np.float64) for name, array in inputs.items()}
    queries, keys, values, next_conv_state = heads(given)
    state = given["state"].copy()
    decay, beta = np.exp(log_decay(given)), sigmoid(given["b"])
    o = np.empty(values.shape)
    for t in range(values.shape[1]):
        state *= decay[:, t, :, None, None]
        delta = beta[:, t, :, None] * (values[:, t] - np.einsum("bhvk,bhk->bhv", state, keys[:, t]))
        state += delta[..., :, None] * keys[:, t, :, None, :]
        o[:, t] = np.einsum("bhvk,bhk->bhv", state, queries[:, t])
    return {
        "y": gated_norm(o, given).astype(np.float32),
        "next_conv_state": next_conv_state.astype(np.float32),
        "next_state": state.astype(np.float32),
    }


def convolution(given: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """SiLU of the causal convolution [B, T, C], and the last three tokens [B, 3, C] for the next call."""
    tokens = given["qkv"].shape[1]
    padded = np.concatenate([given["conv_state"], given["qkv"]], axis=1)
    weight = given["conv_weight"][:, 0, :]
    taps = np.stack([padded[:, tap : tap + tokens] for tap in range(TAPS)], axis=-1)
    return silu(np.sum(taps * weight, axis=-1)), padded[:, tokens:]


def heads(given: Mapping[str, Floats]) -> tuple[Floats, Floats, Floats, Floats]:
    """Queries (unit length, scaled), keys (unit length), values, each [B, T, HV, D]; the convolution's state.

    Value head j uses key head j // (HV / HK).
    """
    mixed, next_conv_state = convolution(given)
    batch, tokens, channels = mixed.shape
    value_heads = given["b"].shape[2]
    size = given["norm_weight"].shape[0]
    key_heads = (channels // size - value_heads) // 2
    split = mixed.reshape(batch, tokens, -1, size)
    queries, keys, values = np.split(split, [key_heads, 2 * key_heads], axis=2)
    queries = unit(queries) * size**-0.5
    share = value_heads // key_heads
    return (
        np.repeat(queries, share, axis=2),
        np.repeat(unit(keys), share, axis=2),
        values,
        next_conv_state,
    )


def gated_norm(o: Floats, given: Mapping[str, Floats]) -> Floats:
    """weight * o / rms(o) * silu(z), by head: o [B, T, HV, D] to [B, T, HV*D]."""
    normed = o / np.sqrt(np.mean(o * o, axis=-1, keepdims=True) + EPSILON) * given["norm_weight"]
    return np.asarray(normed.reshape(given["z"].shape) * silu(given["z"]))


def log_decay(given: Mapping[str, Floats]) -> Floats:
    """log of what a token leaves of the state, [B, T, HV]: -exp(A_log) softplus(a + dt_bias)."""
    return np.asarray(-np.exp(given["A_log"]) * np.logaddexp(0.0, given["a"] + given["dt_bias"]))


def unit(x: Floats) -> Floats:
    """x / |x| over the last axis, with the model's epsilon."""
    return np.asarray(x / np.sqrt(np.sum(x * x, axis=-1, keepdims=True) + EPSILON))


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


def silu(x: Floats) -> Floats:
    """x sigmoid(x)."""
    return np.asarray(x * sigmoid(x))
