"""The stand-in keeps a GPU's rules: what would crash there, or go wrong at times, fails here each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from standin_device import Misuse, StandinDevice, StandinExecution, plan_text

from lineside.engines.errors import IncompatibleBundle, NotEnoughMemory

WIDTH = 64


@pytest.fixture
def device() -> StandinDevice:
    return StandinDevice(1 << 20)


@pytest.fixture
def plan(tmp_path: Path) -> bytes:
    """y = x + x, for 1 to 4 rows."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", WIDTH]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "twice", values[:1], values[1:])
    opset = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=opset), tmp_path / "twice.onnx")
    return plan_text(tmp_path / "twice.onnx", {"B": (1, 4)})


class Bound:
    """The plan with one row bound, and staging for both ways."""

    def __init__(self, device: StandinDevice, plan: bytes) -> None:
        self.device = device
        self.x, self.y = (device.allocate(4 * WIDTH * 4) for _ in range(2))
        self.loaded = device.load(plan)
        self.scratch = device.allocate(self.loaded.scratch_bytes)
        self.execution: StandinExecution = self.loaded.execution(0, self.scratch)
        self.execution.shape("x", (1, WIDTH))
        self.execution.bind("x", self.x)
        self.execution.bind("y", self.y)
        self.into = device.staging(4 * WIDTH).bytes.view(np.float32)
        self.out = device.staging(4 * WIDTH).bytes.view(np.float32)

    def queue(self) -> None:
        self.device.upload(self.x, self.into)
        self.execution.enqueue()
        self.device.download(self.out, self.y)


@pytest.fixture
def bound(device: StandinDevice, plan: bytes) -> Bound:
    return Bound(device, plan)


def test_nothing_happens_before_one_waits_and_all_of_it_after(bound: Bound) -> None:
    bound.into[:] = 1
    bound.queue()
    assert np.isnan(bound.out).all()
    bound.into[:] = 3  # too early: the copy may not have been made
    bound.device.synchronise()
    assert (bound.out == 6).all()


def test_a_captured_graph_does_the_same_on_what_lies_there_then(bound: Bound) -> None:
    bound.into[:] = 1
    bound.queue()
    bound.device.synchronise()
    with bound.device.capture() as captured:
        bound.queue()
    assert bound.loaded.runs == 1
    for value in (2, 5):
        bound.into[:] = value
        captured.graph.launch()
        bound.device.synchronise()
        assert (bound.out == 2 * value).all()


def capture_cold(bound: Bound) -> None:
    with bound.device.capture():
        bound.queue()


def capture_and_rebind(bound: Bound) -> None:
    bound.queue()
    bound.device.synchronise()
    with bound.device.capture() as captured:
        bound.queue()
    bound.execution.bind("x", bound.y)
    captured.graph.launch()


def capture_and_free(bound: Bound) -> None:
    bound.queue()
    bound.device.synchronise()
    with bound.device.capture() as captured:
        bound.queue()
    bound.device.free(bound.x)
    captured.graph.launch()
    bound.device.synchronise()


def free_while_queued(bound: Bound) -> None:
    bound.queue()
    bound.device.free(bound.x)


def free_twice(bound: Bound) -> None:
    bound.device.free(bound.x)
    bound.device.free(bound.x)


def read_freed(bound: Bound) -> None:
    bound.device.free(bound.x)
    bound.queue()
    bound.device.synchronise()


def read_beyond(bound: Bound) -> None:
    bound.device.copy(bound.x, bound.y, 5 * WIDTH * 4)
    bound.device.synchronise()


def allocate_while_capturing(bound: Bound) -> None:
    with bound.device.capture():
        bound.device.allocate(1)


def wait_while_capturing(bound: Bound) -> None:
    with bound.device.capture():
        bound.device.synchronise()


def copy_pageable(bound: Bound) -> None:
    bound.device.upload(bound.x, np.zeros(4, np.float32))


def write_over_the_input(bound: Bound) -> None:
    bound.execution.bind("y", bound.x)
    bound.execution.enqueue()


def leave_the_profile(bound: Bound) -> None:
    bound.execution.shape("x", (5, WIDTH))


def leave_unbound(bound: Bound) -> None:
    execution = bound.loaded.execution(0, bound.scratch)
    execution.bind("x", bound.x)
    execution.enqueue()


def bind_askew(bound: Bound) -> None:
    bound.execution.bind("x", bound.x + 4)


@pytest.mark.parametrize(
    "misuse",
    [
        capture_cold,
        capture_and_rebind,
        capture_and_free,
        free_while_queued,
        free_twice,
        read_freed,
        read_beyond,
        allocate_while_capturing,
        wait_while_capturing,
        copy_pageable,
        write_over_the_input,
        leave_the_profile,
        leave_unbound,
        bind_askew,
    ],
)
def test_misuse_is_found(bound: Bound, misuse: Callable[[Bound], None]) -> None:
    with pytest.raises(Misuse):
        misuse(bound)


def test_memory_ends(device: StandinDevice) -> None:
    device.allocate(1 << 19)
    with pytest.raises(NotEnoughMemory):
        device.allocate((1 << 19) + 1)


def test_a_plan_of_another_version_is_refused(device: StandinDevice, plan: bytes) -> None:
    with pytest.raises(IncompatibleBundle, match="compile it again"):
        device.load(plan.replace(b"stand-in 1", b"stand-in 2"))
