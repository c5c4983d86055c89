"""Matrices that are cut and stacked without being read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from lineside.engines.graph.matrix import stack, stored
from lineside.engines.weights import Checkpoint, open_checkpoint

A = np.arange(35, dtype=np.float32).reshape(7, 5)
B = -np.arange(20, dtype=np.float32).reshape(4, 5)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("weights")
    save_file({"a.weight": A, "b.weight": B, "c.weight": A.reshape(7, 5, 1)}, folder / "model.safetensors")
    return open_checkpoint(folder)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_cuts_of_stacks_are_what_numpy_says(source: Checkpoint, data: st.DataObject) -> None:
    matrix = stack(stored(source, "a.weight", (7, 5)), stored(source, "b.weight", (4, 5)))
    values = np.concatenate([A, B])
    for _ in range(2):
        start = data.draw(st.integers(0, matrix.shape[0] - 1))
        stop = data.draw(st.integers(start + 1, matrix.shape[0]))
        np.testing.assert_array_equal(matrix.rows(start, stop), values[start:stop])
        matrix, values = matrix.cut(start, stop), values[start:stop]
        assert matrix.shape == values.shape
    np.testing.assert_array_equal(matrix.whole(), values)
    some = data.draw(st.integers(1, 60))
    np.testing.assert_array_equal(np.concatenate(list(matrix.chunks(some))), values)
    np.testing.assert_array_equal(np.concatenate(list(matrix.columns(values=some))), values.T)


def test_axes_beyond_the_first_lie_side_by_side(source: Checkpoint) -> None:
    matrix = stored(source, "c.weight", (7, 5, 1))
    assert matrix.shape == (7, 5)
    np.testing.assert_array_equal(matrix.whole(), A)


def test_bands_of_columns_are_of_the_asked_type(source: Checkpoint) -> None:
    bands: list[Any] = list(stored(source, "a.weight", (7, 5)).columns(np.float16))
    assert {band.dtype for band in bands} == {np.dtype(np.float16)}


def test_a_matrix_says_what_it_is_made_of(source: Checkpoint) -> None:
    a, b = stored(source, "a.weight", (7, 5)), stored(source, "b.weight", (4, 5))
    assert stack(a.cut(0, 2), b, a.cut(4, 6)).name == "a+b"
