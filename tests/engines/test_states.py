"""States and snapshots: sizes from the graph's inputs, exact copies, and a bound on what is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from lineside.engines.errors import IncompatibleBundle
from lineside.engines.onnxruntime.states import (
    SnapshotStore,
    States,
    read_layout,
    restore,
    take_snapshot,
)


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


def test_a_restored_snapshot_is_the_past_it_was_taken_of() -> None:
    states, other = filled(1, 8, 1), filled(1, 8, 2)
    snapshot = take_snapshot(states, 5)
    wanted = {name: array.copy() for name, array in states.arrays().items()}
    states.begin()
    assert not any(array.any() for array in states.fixed.values())
    restore(snapshot, other)
    for name, array in other.caches.items():
        np.testing.assert_array_equal(array[:, :, :5], wanted[name][:, :, :5])
    for name, array in other.fixed.items():
        np.testing.assert_array_equal(array, wanted[name])
    assert snapshot.size_bytes == states.layout.fixed_bytes() + 5 * states.layout.cache_bytes()


def test_caches_that_are_still_in_place_are_left_alone() -> None:
    states = filled(1, 8, 3)
    snapshot = take_snapshot(states, 5)
    states.caches["past.1.key"][:] = 7
    restore(snapshot, states, caches=False)
    assert (states.caches["past.1.key"] == 7).all()


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


def test_the_least_used_snapshots_go_first_and_the_newest_stays() -> None:
    snapshot = take_snapshot(filled(1, 8, 5), 4)
    store = SnapshotStore(2 * snapshot.size_bytes)
    for key in (b"a", b"b"):
        store.put(key, snapshot)
    assert store.get(b"a") is snapshot
    store.put(b"c", snapshot)
    assert [store.get(key) is None for key in (b"a", b"b", b"c")] == [False, True, False]
    assert store.size_bytes == 2 * snapshot.size_bytes
    alone = SnapshotStore(0)
    alone.put(b"x", snapshot)
    alone.put(b"y", snapshot)
    assert len(alone) == 1
    assert alone.get(b"y") is snapshot
