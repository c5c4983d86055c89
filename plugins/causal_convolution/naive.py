"""The causal convolution in NumPy: state and tokens side by side, one weighted sum per token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def causal_convolution(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """x [B, T, C], weight [C, 1, W], state [B, W−1, C] → y [B, T, C] and the state after them, in float32."""
    x, weight, state = (inputs[name].astype(np.float32) for name in ("x", "weight", "state"))
    tokens = x.shape[1]
    seen = np.concatenate([state, x], axis=1)
    taps = weight[:, 0, :]
    with np.errstate(invalid="ignore", over="ignore"):
        summed = np.zeros_like(x)
        for j in range(taps.shape[1]):
            summed += taps[:, j] * seen[:, j : j + tokens]
        y = summed / (1 + np.exp(-summed))
    return {"y": y, "present": seen[:, tokens:]}
