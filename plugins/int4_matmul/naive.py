"""The int4 product in NumPy: weights unpacked to float32, then an ordinary matrix product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
MIDDLE = 8
"""The zero point where none is stored."""


def unpack(
    values: NDArray[np.uint8], scales: NDArray[Any], zeros: NDArray[np.uint8] | None, width: int
) -> Floats:
    """Rows [.., width] of float32 from values [.., blocks, bytes], scales [.., blocks], zeros [.., bytes]."""
    blocks = scales.shape[-1]
    integers = _singles(values).astype(np.float32)
    points = np.float32(MIDDLE) if zeros is None else _singles(zeros)[..., :blocks, None].astype(np.float32)
    numbers = (integers - points) * scales.astype(np.float32)[..., None]
    return numbers.reshape(*scales.shape[:-1], -1)[..., :width]


def _singles(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The 4-bit integers of bytes, the low half first."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)


def product(inputs: Mapping[str, NDArray[Any]]) -> dict[str, Floats]:
    """x [T, K] by the stored rows [N, K] → y [T, N]."""
    x = inputs["x"].astype(np.float32)
    weight = unpack(inputs["values"], inputs["scales"], inputs.get("zeros"), x.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        return {"y": x @ weight.T}
