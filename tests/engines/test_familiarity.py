"""Familiarity: training-like pictures are near 1, others are far, and the file keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lineside.engines import familiarity


def embeddings(generator: np.random.Generator, shift: float = 0.0) -> familiarity.Array:
    return (generator.normal(size=(16, 8)) + shift).astype(np.float32)


def fitted(generator: np.random.Generator) -> familiarity.FamiliarityStats:
    return familiarity.fit(np.stack([familiarity.feature(embeddings(generator)) for _ in range(2000)]))


def test_pictures_like_the_training_ones_are_within_the_limit() -> None:
    generator = np.random.default_rng(1)
    stats = fitted(generator)
    distances = [familiarity.distance(embeddings(generator), stats) for _ in range(200)]
    assert 0.8 < np.mean(distances) < 1.2
    assert sum(found > stats.limit for found in distances) <= 3


def test_a_shifted_picture_is_beyond_the_limit() -> None:
    generator = np.random.default_rng(2)
    stats = fitted(generator)
    assert familiarity.distance(embeddings(generator, shift=2.0), stats) > 2 * stats.limit


def test_a_direction_without_variance_stays_finite() -> None:
    features = np.zeros((50, 4), np.float32)
    stats = familiarity.fit(features + np.random.default_rng(3).normal(size=(50, 1)).astype(np.float32))
    assert np.isfinite(stats.whitening).all()


def test_the_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    stats = [fitted(generator), fitted(generator)]
    familiarity.save(tmp_path / familiarity.FILE_NAME, stats)
    loaded = familiarity.load(tmp_path / familiarity.FILE_NAME)
    picture = embeddings(generator)
    assert [familiarity.distance(picture, one) for one in loaded] == [
        familiarity.distance(picture, one) for one in stats
    ]
    assert [one.limit for one in loaded] == pytest.approx([one.limit for one in stats])


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    save_file(
        {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32), "c": np.zeros(2, np.float32)},
        tmp_path / "f",
    )
    with pytest.raises(ValueError, match=r"0\.mean"):
        familiarity.load(tmp_path / "f")
