"""States and snapshots: sizes from the graph's inputs, exact copies, and a bound on what is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from lineside.engines.errors import IncompatibleBundle
from lineside.engines.onnxruntime.states import States, read_layout


@dataclass
class Input:
    name: str
    shape: list[int | str]
    type: str = "tensor(float)"


INPUTS = [
    Input("input_ids", ["B", "T"], "tensor(int64)"),
    Input("past.0.conv", ["B", 3, 10]),
    Input("past.0.recurrent", ["B", 2, 4, 5]),
    Input("past.1.key", ["B", 2, "S", 6]),
    Input("past.1.value", ["B", 2, "S", 6]),
]


def filled(rows: int, capacity: int, seed: int) -> States:
    states = States(read_layout(INPUTS), rows, capacity)
    generator = np.random.default_rng(seed)
    for array in states.arrays().values():
        array[...] = generator.normal(size=array.shape)
    return states


def test_sizes_come_from_the_inputs() -> None:
    layout = read_layout(INPUTS)
    assert layout.fixed_bytes() == 4 * (30 + 40)
    assert layout.cache_bytes() == 4 * 2 * 12
    assert {name: array.shape for name, array in States(layout, 3, 7).arrays().items()} == {
        "past.0.conv": (3, 3, 10),
        "past.0.recurrent": (3, 2, 4, 5),
        "past.1.key": (3, 2, 7, 6),
        "past.1.value": (3, 2, 7, 6),
    }


@pytest.mark.parametrize(
    "strange",
    [
        Input("past.0.key", ["B", 2, "S", 6], "tensor(float16)"),
        Input("past.0.key", [1, 2, "S", 6]),
        Input("past.0.key", ["B", "H", "S", 6]),
        Input("past.0.conv", ["B", "K", 10]),
    ],
)
def test_a_state_of_another_kind_is_refused(strange: Input) -> None:
    with pytest.raises(IncompatibleBundle, match=strange.name):
        read_layout([strange])


def test_a_copied_past_is_put_back_as_it_was() -> None:
    states, other = filled(1, 8, 1), filled(1, 8, 2)
    runs, fixed = [states.copy_caches(0, 2), states.copy_caches(2, 5)], states.copy_fixed()
    wanted = {name: array.copy() for name, array in states.arrays().items()}
    states.begin()
    assert not any(array.any() for array in states.fixed.values())
    other.put_fixed(fixed)
    other.put_caches(runs[0], 0)
    other.put_caches(runs[1], 2)
    for name, array in other.caches.items():
        np.testing.assert_array_equal(array[:, :, :5], wanted[name][:, :, :5])
    for name, array in other.fixed.items():
        np.testing.assert_array_equal(array, wanted[name])
    assert fixed.size_bytes == states.layout.fixed_bytes()
    assert sum(run.size_bytes for run in runs) == 5 * states.layout.cache_bytes()


def test_a_cut_run_is_two_runs_that_hold_nothing_of_each_other() -> None:
    states = filled(1, 8, 3)
    whole = states.copy_caches(1, 7)
    head, tail = whole.split(2)
    for run, start, end in ((head, 1, 3), (tail, 3, 7)):
        for name, array in run.arrays.items():
            np.testing.assert_array_equal(array, states.caches[name][:, :, start:end])
            assert array.base is None
    assert head.size_bytes + tail.size_bytes == whole.size_bytes


def test_every_row_becomes_the_single_row() -> None:
    source, rows = filled(1, 8, 4), States(read_layout(INPUTS), 3, 6)
    rows.repeat(source, 5)
    for name, array in rows.caches.items():
        for row in array:
            np.testing.assert_array_equal(row[:, :5], source.caches[name][0][:, :5])
        assert not array[:, :, 5:].any()
    for name, array in rows.fixed.items():
        for row in array:
            np.testing.assert_array_equal(row, source.fixed[name][0])
