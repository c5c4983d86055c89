"""Familiarity: pictures like the training ones are near 1, others are far, and the file keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lineside.engines import familiarity

CENTRES = {"ok": 0.0, "cracked": 1.5}


def pictures(generator: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    return (generator.normal(size=(count, 16, 8)) + shift).astype(np.float32)


def fitted(generator: np.random.Generator) -> familiarity.FamiliarityStats:
    classes = ["ok"] * 1000 + ["cracked"] * 1000
    training = np.concatenate([pictures(generator, 1000, shift) for shift in CENTRES.values()])
    held_out = np.concatenate([pictures(generator, 1000, shift) for shift in CENTRES.values()])
    return familiarity.fit(training, classes, held_out)


@pytest.mark.parametrize("shift", CENTRES.values())
def test_pictures_of_every_trained_class_are_within_the_threshold(shift: float) -> None:
    generator = np.random.default_rng(1)
    stats = fitted(generator)
    distances = [familiarity.distance(one, stats) for one in pictures(generator, 200, shift)]
    assert 0.7 < np.mean(distances) < 1.2
    assert sum(found > stats.threshold for found in distances) <= 3


@pytest.mark.parametrize("shift", [-1.5, 0.75, 4.0])
def test_pictures_between_and_beyond_the_classes_are_not(shift: float) -> None:
    generator = np.random.default_rng(2)
    stats = fitted(generator)
    distances = [familiarity.distance(one, stats) for one in pictures(generator, 50, shift)]
    assert np.mean(distances) > stats.threshold


def test_the_distance_is_the_mahalanobis_distance_of_mean_and_deviation() -> None:
    stats = familiarity.FamiliarityStats(
        np.array([[1, 0], [9, 9]], np.float32), np.diag([4, 1]).astype(np.float32), 1.0
    )
    embeddings = np.array([[2.0], [4.0]], np.float32)  # mean 3, deviation 1
    assert familiarity.distance(embeddings, stats) == pytest.approx(np.sqrt((4 * 2**2 + 1) / 2))


def test_the_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    stats = {"cap": fitted(generator), "code.2": fitted(generator)}
    familiarity.save_stats(tmp_path / familiarity.FILE_NAME, stats)
    loaded = familiarity.load_stats(tmp_path / familiarity.FILE_NAME)
    picture = pictures(generator, 1)[0]
    assert list(loaded) == ["cap", "code.2"]
    for question, one in stats.items():
        assert familiarity.distance(picture, loaded[question]) == familiarity.distance(picture, one)
        assert loaded[question].threshold == pytest.approx(one.threshold)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"cap.centres": (2, 4), "cap.precision": (4, 4)}, "cap.threshold"),
        ({"cap.centres": (2, 3), "cap.precision": (4, 4), "cap.threshold": (1,)}, "do not fit"),
        ({"cap.centres": (2, 4), "cap.precision": (4, 4), "cap.threshold": (1,)}, "do not fit"),
    ],
)
def test_a_file_without_whole_statistics_is_refused(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], says: str
) -> None:
    path = tmp_path / familiarity.FILE_NAME
    save_file({name: np.zeros(shape, np.float32) for name, shape in tensors.items()}, path)
    with pytest.raises(ValueError, match=says):
        familiarity.load_stats(path)
