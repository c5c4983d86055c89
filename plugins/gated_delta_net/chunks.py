"""What the three kernels of the chunked prefill each compute, in float64.

Within a chunk of 64 tokens, with G the running sum of the log decays and D_ij = exp(G_i - G_j) for j <= i:
A = beta K Kt o D below the diagonal, M = (I + A)^-1, U = M beta V, W = M beta (K o exp G), P = Q Kt o D.
From chunk to chunk, with S the state [values, keys]: N = U - W St, O = (Q o exp G) St + P N,
S <- exp(G_last) S + Nt (K o exp(G_last - G)).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.gated_delta_net.naive import (
    Floats,
    convolution,
    gated_norm,
    log_decay,
    sigmoid,
    unit,
)

CHUNK = 64


def prepare(inputs: Mapping[str, NDArray[Any]], size: int) -> dict[str, NDArray[np.float32]]:
    """Convolution, unit lengths and gates of every token; `size` is the head size.

    mixed [B, T, C] (queries scaled and of unit length, keys of unit length, values), log_decay [B, HV, T]
    summed from each chunk's start, beta [B, HV, T], next_conv_state [B, 3, C].
    """
    given = _doubles(inputs)
    mixed, next_conv_state = convolution(given)
    batch, tokens, channels = mixed.shape
    value_heads = given["b"].shape[2]
    key_heads = (channels // size - value_heads) // 2
    split = mixed.reshape(batch, tokens, -1, size)
    split[:, :, : 2 * key_heads] = unit(split[:, :, : 2 * key_heads])
    split[:, :, :key_heads] *= size**-0.5
    summed = np.maximum(log_decay(given), -100.0)
    for first in range(0, tokens, CHUNK):
        summed[:, first : first + CHUNK] = np.cumsum(summed[:, first : first + CHUNK], axis=1)
    return _singles(
        mixed=mixed,
        log_decay=summed.transpose(0, 2, 1),
        beta=sigmoid(given["b"]).transpose(0, 2, 1),
        next_conv_state=next_conv_state,
    )


def solve(inputs: Mapping[str, NDArray[Any]], size: int) -> dict[str, NDArray[np.float32]]:
    """What each chunk needs of itself alone, from `prepare`'s outputs, zero beyond the last token.

    NC chunks: u [B, HV, NC, D, 64] (transposed), w [B, HV, NC, 64, D], p [B, HV, NC, 64, 64].
    """
    queries, keys, values, summed, beta = _chunked(_doubles(inputs), size)
    below = np.tril(np.ones((CHUNK, CHUNK)))
    between = np.exp(np.where(below > 0, summed[..., :, None] - summed[..., None, :], -np.inf))
    a = np.tril(beta[..., None] * (keys @ keys.swapaxes(-1, -2)) * between, -1)
    inverse = np.linalg.inv(np.eye(CHUNK) + a)
    u = inverse @ (beta[..., None] * values)
    w = inverse @ ((beta * np.exp(summed))[..., None] * keys)
    return _singles(u=u.swapaxes(-1, -2), w=w, p=queries @ keys.swapaxes(-1, -2) * between)


def scan(inputs: Mapping[str, NDArray[Any]], size: int) -> dict[str, NDArray[np.float32]]:
    """The state through the chunks, from `prepare`'s and `solve`'s outputs: y [B, T, HV*D] and next_state."""
    given = _doubles(inputs)
    queries, keys, _, summed, _ = _chunked(given, size)
    batch, value_heads, chunks = summed.shape[:3]
    state = given["state"].swapaxes(-1, -2)
    out = np.empty((batch, value_heads, chunks, CHUNK, size))
    for c in range(chunks):
        decayed, last = np.exp(summed[:, :, c]), summed[:, :, c, -1:]
        new = given["u"][:, :, c].swapaxes(-1, -2) - given["w"][:, :, c] @ state
        out[:, :, c] = decayed[..., None] * (queries[:, :, c] @ state) + given["p"][:, :, c] @ new
        remembered = np.exp(last - summed[:, :, c])[..., None] * keys[:, :, c]
        state = np.exp(last)[..., None] * state + remembered.swapaxes(-1, -2) @ new
    tokens = given["mixed"].shape[1]
    o = out.reshape(batch, value_heads, chunks * CHUNK, size)[:, :, :tokens].transpose(0, 2, 1, 3)
    return _singles(y=gated_norm(o, given), next_state=state.swapaxes(-1, -2))


def _chunked(given: Mapping[str, Floats], size: int) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Queries, keys, values [B, HV, NC, 64, D], summed log decay and beta [B, HV, NC, 64].

    Tokens beyond the last are zero; the log decay stays at its last sum there, so that they change nothing.
    """
    batch, value_heads, tokens = given["log_decay"].shape
    mixed = given["mixed"].reshape(batch, tokens, -1, size)
    key_heads = (mixed.shape[2] - value_heads) // 2
    pad = -tokens % CHUNK

    def split(x: Floats) -> Floats:
        x = np.pad(np.repeat(x, value_heads // x.shape[2], axis=2), ((0, 0), (0, pad), (0, 0), (0, 0)))
        return x.reshape(batch, -1, CHUNK, value_heads, size).transpose(0, 3, 1, 2, 4)

    queries, keys, values = np.split(mixed, [key_heads, 2 * key_heads], axis=2)
    summed = np.pad(given["log_decay"], ((0, 0), (0, 0), (0, pad)), mode="edge")
    beta = np.pad(given.get("beta", np.zeros_like(given["log_decay"])), ((0, 0), (0, 0), (0, pad)))
    return (
        split(queries),
        split(keys),
        split(values),
        summed.reshape(batch, value_heads, -1, CHUNK),
        beta.reshape(batch, value_heads, -1, CHUNK),
    )


def _doubles(inputs: Mapping[str, NDArray[Any]]) -> dict[str, Floats]:
    return {name: np.asarray(array, np.float64) for name, array in inputs.items()}


def _singles(**outputs: Floats) -> dict[str, NDArray[np.float32]]:
    return {name: array.astype(np.float32) for name, array in outputs.items()}
