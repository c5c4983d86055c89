"""The mixture of experts in NumPy, step by step as the kernels take it: routing, experts, combination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.int4_matmul.naive import unpack

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]
Arrays = Mapping[str, NDArray[Any]]


def route(logits: NDArray[Any], chosen: int) -> tuple[Numbers, Floats]:
    """Logits [T, E] → experts [T, chosen] by falling likelihood and their weights, which add up to one.

    Of equal logits the lower number comes first. Where softmax has no answer (a NaN; a largest logit that is
    infinite) the weights are NaN and the experts the first ones.
    """
    logits = logits.astype(np.float32)
    highest = logits.max(axis=1, keepdims=True)
    undefined = ~np.isfinite(highest[:, 0])
    experts = np.argsort(-logits, axis=1, kind="stable")[:, :chosen].astype(np.int32)
    experts[undefined] = np.arange(chosen)
    with np.errstate(invalid="ignore", over="ignore"):
        likely = np.exp(np.take_along_axis(logits, experts, axis=1) - highest)
        weights = likely / likely.sum(axis=1, keepdims=True)
    weights[undefined] = np.nan
    return experts, weights


def group(experts: Numbers, count: int, tile: int) -> tuple[Numbers, Numbers]:
    """Experts [T, S] → pairs in the order of their experts [T, S], and for each expert where its pairs begin,
    how many there are, and which is its first tile of `tile` pairs [count, 3]."""
    flat = experts.reshape(-1)
    order = np.argsort(flat, kind="stable").astype(np.int32)
    pairs = np.bincount(flat, minlength=count)
    tiles = -(-pairs // tile)
    groups = np.stack([np.cumsum(pairs) - pairs, pairs, np.cumsum(tiles) - tiles], axis=1)
    return order.reshape(experts.shape), groups.astype(np.int32)


def gate_up(x: NDArray[Any], experts: Numbers, inputs: Arrays) -> Floats:
    """x [T, H] through each token's experts [T, S]: silu(gate)·up, [T, S, I]. Gate and up rows alternate."""
    inner = inputs.get("gate_up", inputs.get("scales"))
    assert inner is not None
    hidden = np.full((*experts.shape, inner.shape[1]), np.nan, np.float32)
    x = x.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for expert in _known(experts, inner.shape[0]):
            both = _matrix(inputs, "gate_up", expert, x.shape[1])
            token, choice = np.nonzero(experts == expert)
            gate, up = x[token] @ both[:, 0].T, x[token] @ both[:, 1].T
            hidden[token, choice] = gate / (1 + np.exp(-gate)) * up
    return hidden


def down(hidden: NDArray[Any], experts: Numbers, inputs: Arrays) -> Floats:
    """hidden [T, S, I] through each pair's expert: [T, S, H]."""
    stored = inputs.get("down", inputs.get("scales"))
    assert stored is not None
    parts = np.full((*experts.shape, stored.shape[1]), np.nan, np.float32)
    hidden = hidden.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        for expert in _known(experts, stored.shape[0]):
            matrix = _matrix(inputs, "down", expert, hidden.shape[2])
            token, choice = np.nonzero(experts == expert)
            parts[token, choice] = hidden[token, choice] @ matrix.T
    return parts


def combine(parts: NDArray[Any], weights: Floats) -> Floats:
    """parts [T, S, H] added up with weights [T, S]: [T, H]."""
    with np.errstate(invalid="ignore", over="ignore"):
        total: Floats = np.einsum("tsh,ts->th", parts.astype(np.float32), weights)
    return total


def pair_experts(order: Numbers, groups: Numbers) -> Numbers:
    """What `group` was given, from what it gave: the expert of each pair [T, S]."""
    experts = np.full(order.size, -1, np.int32)
    for expert, (first, count, _) in enumerate(groups):
        experts[order.reshape(-1)[first : first + count]] = expert
    return experts.reshape(order.shape)


def _known(experts: Numbers, count: int) -> list[int]:
    return [int(expert) for expert in np.unique(experts) if 0 <= expert < count]


def _matrix(inputs: Arrays, name: str, expert: int, width: int) -> Floats:
    """One expert's rows, whichever way they are stored."""
    if name in inputs:
        stored: Floats = inputs[name][expert].astype(np.float32)
        return stored
    zeros = inputs.get("zeros")
    return unpack(
        inputs["values"][expert], inputs["scales"][expert], None if zeros is None else zeros[expert], width
    )
