"""How far pictures are from what an engine was trained on: one number, from the picture embeddings.

The formula and the file live here, for those who fit statistics (training) and those who read them
(sessions). For one question, with `E` the embeddings (tokens, width) that the decoder is given:

    x = [mean of E over the tokens, standard deviation of E over the tokens]      (2 · width numbers)
    d = min over centres c of sqrt((x − c)ᵀ P (x − c) / (2 · width))

`centres` (one per answer class) and the shared precision `P` are fitted on pictures of the training
conditions; `threshold` is a high percentile of `d` over held-out pictures of these conditions, so that
`d / threshold` above 1 is unfamiliar. The file has `<question>.centres`, `<question>.precision` and
`<question>.threshold` (float32), where `<question>` is the `id` of the entry in the manifest's `scope`.

Does not know pictures, models or verdicts; what an unfamiliar picture leads to is the caller's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

FILE_NAME = "familiarity.safetensors"
SHRINKAGE = 0.02
QUANTILE = 0.999

Floats = NDArray[np.float32]
_Wide = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FamiliarityStats:
    """One question's fit: centres (classes, 2·width), precision (2·width, 2·width), threshold."""

    centres: Floats
    precision: Floats
    threshold: float


def features(embeddings: Floats) -> _Wide:
    """Mean and standard deviation over the tokens of (…, tokens, width)."""
    wide = embeddings.astype(np.float64)
    return np.concatenate([wide.mean(-2), wide.std(-2)], axis=-1)


def distance(embeddings: Floats, stats: FamiliarityStats) -> float:
    """Distance `d` of one question's pictures (tokens, width) to the nearest centre; about 1 is typical."""
    return float(_distances(features(embeddings)[None], stats.centres, stats.precision)[0])


def _distances(points: _Wide, centres: Floats, precision: Floats) -> _Wide:
    apart = points[:, None, :] - centres[None].astype(np.float64)
    squared = ((apart @ precision.astype(np.float64)) * apart).sum(-1)
    nearest: _Wide = np.sqrt(np.maximum(squared.min(1), 0.0) / points.shape[1])
    return nearest


def fit(embeddings: Floats, classes: Sequence[str], held_out: Floats) -> FamiliarityStats:
    """Fits on pictures (pictures, tokens, width) with their answer classes; the threshold on `held_out`."""
    points = features(embeddings)
    names = sorted(set(classes))
    member = np.array([names.index(name) for name in classes])
    centres = np.stack([points[member == k].mean(0) for k in range(len(names))])
    scatter = points - centres[member]
    covariance = scatter.T @ scatter / max(1, len(points) - len(names))
    spread = np.trace(covariance) / len(covariance)
    # Shrunk towards a ball, so that directions without variance stay finite.
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * spread * np.eye(len(covariance))
    precision = np.linalg.inv(covariance).astype(np.float32)
    apart = _distances(features(held_out), centres.astype(np.float32), precision)
    return FamiliarityStats(centres.astype(np.float32), precision, float(np.quantile(apart, QUANTILE)))


def save_stats(path: Path, stats: Mapping[str, FamiliarityStats]) -> None:
    """Writes every question's fit to one file."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for question, fitted in stats.items():
        arrays[f"{question}.centres"] = np.ascontiguousarray(fitted.centres, np.float32)
        arrays[f"{question}.precision"] = np.ascontiguousarray(fitted.precision, np.float32)
        arrays[f"{question}.threshold"] = np.array([fitted.threshold], np.float32)
    save_file(arrays, str(path))


def load_stats(path: Path) -> dict[str, FamiliarityStats]:
    """Reads what `save_stats` wrote.

    Raises:
        ValueError: the file does not hold whole statistics.
    """
    arrays = load_file(str(path))
    stats: dict[str, FamiliarityStats] = {}
    for question in sorted({name.rsplit(".", 1)[0] for name in arrays}):
        try:
            centres, precision = arrays[f"{question}.centres"], arrays[f"{question}.precision"]
            threshold = float(arrays[f"{question}.threshold"][0])
        except KeyError as missing:
            raise ValueError(f"{path.name} has no {missing.args[0]}") from missing
        width = precision.shape[0]
        if precision.shape != (width, width) or centres.shape[1:] != (width,) or not threshold > 0:
            raise ValueError(f"{path.name}: the statistics of {question} do not fit together")
        stats[question] = FamiliarityStats(centres, precision, threshold)
    return stats
