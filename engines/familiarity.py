"""How far pictures are from what an engine was trained on: one number, from the picture embeddings.

The formula and the file layout live here, for those who fit statistics (training) and those who
read them (sessions). Knows numpy and a safetensors file; does not know models, questions or thresholds' use.

Per question: a picture's feature is the mean and the standard deviation of its embeddings over the
picture's tokens; the distance is the Mahalanobis distance of that feature from the training pictures,
divided by the square root of the number of dimensions, so that a typical picture is near 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

FILE_NAME = "familiarity.safetensors"

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FamiliarityStats:
    """What training pictures of one question look like.

    `mean`: [2H]. `whitening`: [2H, 2H]; feature − mean times this has about unit covariance on training
    pictures. `limit`: the distance above which a picture counts as unfamiliar.
    """

    mean: Array
    whitening: Array
    limit: float


def feature(embeddings: Array) -> Array:
    """A picture's feature [2H] from its embeddings [N, H]: mean and standard deviation over the tokens."""
    mean = embeddings.mean(axis=0)
    spread = np.sqrt(np.maximum((embeddings * embeddings).mean(axis=0) - mean * mean, 0.0))
    return np.concatenate([mean, spread]).astype(np.float32, copy=False)


def distance(embeddings: Array, stats: FamiliarityStats) -> float:
    """The distance of one picture (embeddings [N, H]) from the training pictures; about 1 is typical."""
    whitened = (feature(embeddings) - stats.mean) @ stats.whitening
    return float(np.sqrt(np.dot(whitened, whitened) / whitened.size))


def fit(features: Array, *, quantile: float = 0.999, shrinkage: float = 1e-3) -> FamiliarityStats:
    """Statistics of training features [n, 2H]; the limit is the `quantile` of their own distances.

    Fit on pictures the engine was not trained on, or the limit is too tight. `shrinkage` times the mean
    variance is added to the diagonal, so that directions without variance stay finite.
    """
    samples = features.astype(np.float64)
    mean = samples.mean(axis=0)
    centred = samples - mean
    covariance = centred.T @ centred / max(len(samples) - 1, 1)
    ridge = shrinkage * max(float(np.trace(covariance)) / covariance.shape[0], 1e-12)
    values, vectors = np.linalg.eigh(covariance)
    whitening = vectors / np.sqrt(np.maximum(values, 0.0) + ridge)
    whitened = centred @ whitening
    distances = np.sqrt((whitened * whitened).mean(axis=1))
    return FamiliarityStats(
        mean.astype(np.float32), whitening.astype(np.float32), float(np.quantile(distances, quantile))
    )


def save(path: Path, stats: Sequence[FamiliarityStats]) -> None:
    """Writes the statistics of each question, in the order of the manifest's `scope`."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for index, of_question in enumerate(stats):
        tensors[f"{index}.mean"] = np.ascontiguousarray(of_question.mean, np.float32)
        tensors[f"{index}.whitening"] = np.ascontiguousarray(of_question.whitening, np.float32)
        tensors[f"{index}.limit"] = np.array([of_question.limit], np.float32)
    save_file(tensors, str(path))


def load(path: Path) -> tuple[FamiliarityStats, ...]:
    """Reads what `save` wrote.

    Raises:
        ValueError: the file does not hold a whole set of statistics.
    """
    tensors = load_file(str(path))
    count = len(tensors) // 3
    try:
        found = tuple(
            FamiliarityStats(
                tensors[f"{index}.mean"], tensors[f"{index}.whitening"], float(tensors[f"{index}.limit"][0])
            )
            for index in range(count)
        )
    except KeyError as missing:
        raise ValueError(
            f"{path.name} has no {missing.args[0]}: it was not written by this software"
        ) from missing
    for stats in found:
        if stats.whitening.shape != (stats.mean.size, stats.mean.size) or not stats.limit > 0:
            raise ValueError(f"{path.name} holds statistics of unmatched shapes or without a limit")
    return found
