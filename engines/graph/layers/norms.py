"""Reads norm scales. Qwen3.5's norms are stored around zero: the scale is one plus what is stored."""

from __future__ import annotations

import numpy as np

from lineside.engines.graph.dialects.base import Floats
from lineside.engines.weights import TensorSource


def zero_centred_scale(checkpoint: TensorSource, name: str, width: int) -> Floats:
    """1 + weight, [width]: for every norm but the gated one inside Gated DeltaNet."""
    return np.float32(1) + checkpoint.read(f"{name}.weight", (width,))
