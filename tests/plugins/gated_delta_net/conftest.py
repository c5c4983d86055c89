"""Gated DeltaNet on the CPU: the layer by each of its three ways, and how far two results are apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lineside.plugins.gated_delta_net.shapes import operator_for
from lineside.plugins.gated_delta_net.tensors import draw_layer
from lineside.plugins.host.build import Mode
from lineside.plugins.host.run import run
from lineside.plugins.operator import Kernel, Variant

Arrays = dict[str, NDArray[Any]]
BY_TOKEN = ("qkv", "z", "b", "a")


@functools.cache
def _kernels(head: int) -> dict[str, Kernel]:
    operator = operator_for(head, ("float32", "float16", "bfloat16"))
    return {kernel.name.removeprefix("gated_delta_net_"): kernel for kernel in operator.kernels}


@dataclass(frozen=True)
class Layer:
    """One size and type of the layer; every way takes and gives the same tensors."""

    head: int = 32
    activation: str = "float16"
    mode: Mode = Mode.PLAIN
    order: int = 0

    def kernel(self, name: str) -> Kernel:
        """`decode`, `recurrent`, `prepare`, `solve` or `scan`."""
        return _kernels(self.head)[name]

    def variant(self) -> Variant:
        """The compilation that this layer uses."""
        return Variant(name=self.activation, activation=self.activation, macros={"HEAD": str(self.head)})

    def draw(
        self, seed: int, *, tokens: int, batch: int = 1, key_heads: int = 1, value_heads: int = 1
    ) -> Arrays:
        """Inputs as a trained model has them."""
        channels = (2 * key_heads + value_heads) * self.head
        sizes = {"B": batch, "T": tokens, "C": channels, "HV": value_heads}
        return draw_layer(np.random.default_rng(seed), sizes, self.activation, self.head)

    def one(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """One launch of one kernel."""
        return run(self.kernel(name), self.variant(), inputs, mode=self.mode, order=self.order)

    def recurrent(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """The prompt in one launch."""
        return self.one("recurrent", inputs)

    def chunked(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """The prompt by the three nodes."""
        prepared = self.one("prepare", inputs)
        solved = self.one("solve", prepared)
        scanned = self.one("scan", {**inputs, **prepared, **solved})
        return {**scanned, "next_conv_state": prepared["next_conv_state"]}

    def decoded(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Token by token, each launch with the states that the last one gave."""
        return self.pieces(inputs, [1] * inputs["qkv"].shape[1], lambda piece: self.one("decode", piece))

    def pieces(
        self,
        inputs: Mapping[str, NDArray[Any]],
        lengths: list[int],
        way: Callable[[Mapping[str, NDArray[Any]]], Arrays],
    ) -> Arrays:
        """The prompt cut into `lengths`, one after another."""
        states = {"conv_state": inputs["conv_state"], "state": inputs["state"]}
        y, first = [], 0
        for length in lengths:
            piece = {name: inputs[name][:, first : first + length] for name in BY_TOKEN}
            out = way({**inputs, **piece, **states})
            states = {"conv_state": out["next_conv_state"], "state": out["next_state"]}
            y.append(out["y"])
            first += length
        assert first == inputs["qkv"].shape[1]
        return {
            "y": np.concatenate(y, axis=1),
            "next_conv_state": states["conv_state"],
            "next_state": states["state"],
        }


def distance(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest difference, relative to the largest magnitude expected; NaN where one of them is not finite.

    Where float16 is all subnormal it has fewer digits: what is below 0.05 there counts as 0.05.
    """
    smallest = 0.05 if found.dtype == np.float16 else 1e-30
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    largest = max(float(np.max(np.abs(expected), initial=0.0)), smallest)
    return float(np.max(np.abs(found - expected), initial=0.0)) / largest


@pytest.fixture(scope="session")
def layer_of() -> type[Layer]:
    """`Layer`, above."""
    return Layer


@pytest.fixture(name="distance", scope="session")
def distance_function() -> Callable[[NDArray[Any], NDArray[Any]], float]:
    """`distance`, above."""
    return distance
