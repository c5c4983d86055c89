"""Weights that nobody has: the shapes of a published model's layers, for graphs that are only compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lineside.engines.config import (
    DenseMlpConfig,
    LinearAttentionConfig,
    TextConfig,
    TextRopeConfig,
    VisionConfig,
)
from lineside.engines.graph.fed import Blocks, Dense, GivenExperts
from lineside.engines.quantise.blocks import BlockForm

# One layer of each kind at the full width of 2B, with a small vocabulary.
PAIR_OF_2B = TextConfig(
    vocab_size=1024,
    hidden=2048,
    layer_types=("linear_attention", "full_attention"),
    heads=8,
    kv_heads=2,
    head_dim=256,
    linear=LinearAttentionConfig(16, 16, 128, 128, 4),
    mlp=DenseMlpConfig(6144),
    rms_eps=1e-6,
    rope=TextRopeConfig(1e7, 64, (11, 11, 10)),
    tied_head=True,
    max_positions=262_144,
)


def vision_of_2b(depth: int) -> VisionConfig:
    """The tower of 2B with fewer layers."""
    return VisionConfig(depth, 1024, 4096, 16, 3, 16, 2, 2, 2048, 48, 10_000.0)


class ImaginedWeights:
    """A `WeightSource` of zeros; `form`: how the products that may be rounded are stored."""

    def __init__(self, form: BlockForm | None = None) -> None:
        self._form = form

    def small(self, name: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        return np.full(shape, -1.0 if "decay" in name else 1.0, np.float32)

    def product(self, name: str, shape: tuple[int, int]) -> Dense | Blocks:
        if self._form is not None and "exact" not in name:
            return Blocks(shape, self._form, self._nothing)
        return Dense(shape, True, lambda start, stop: np.zeros((stop - start, shape[0]), np.float32))

    def table(self, name: str, shape: tuple[int, int]) -> Dense | Blocks:
        if self._form is not None:
            return Blocks(shape, self._form, self._nothing)
        return Dense(shape, False, lambda start, stop: np.zeros((stop - start, shape[1]), np.float32))

    def experts(self, name: str, count: int, inner: int, hidden: int) -> GivenExperts:
        raise AssertionError("the pair of layers has no experts")

    def _nothing(self, start: int, stop: int) -> Any:
        raise AssertionError("a weight that is fed is not read while its graph is described for counting")
