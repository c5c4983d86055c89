"""A device that keeps the rules of a GPU and runs plans on the processor: everything above the edge is real.

A plan here is a JSON text that names an ONNX graph with the same inputs and outputs, which ONNX Runtime runs.
What a GPU would do by chance is done on purpose: queued work waits until `synchronise`, memory begins as
numbers that are none, results are unreadable before they are there, freed addresses are never used again.
What a GPU would punish with a crash or a wrong answer raises `Misuse`.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from lineside.engines.errors import IncompatibleBundle, NotEnoughMemory
from lineside.engines.tensorrt.device import ALIGNMENT, Address, PlanTensor, Range

VERSION = "stand-in 1"
_FIRST = 0x7F00_0000_0000
_GAP = 1 << 20
_NOTHING = 0xFF  # float32 and float16 of these bytes are no numbers, integers are −1
_TYPES = {
    "tensor(float)": ("float32", 32),
    "tensor(float16)": ("float16", 16),
    "tensor(int64)": ("int64", 64),
    "tensor(uint8)": ("uint8", 8),
    "tensor(int4)": ("int4", 4),
}


class Misuse(AssertionError):
    """What a GPU would punish with a crash, or with a wrong answer now and then."""


@dataclass
class Work:
    """One queued piece of work, with the device memory it uses."""

    do: Callable[[], None]
    uses: tuple[tuple[Address, int], ...]
    spoils: NDArray[np.uint8] | None = None


class StandinStaging:
    def __init__(self, device: StandinDevice, size: int) -> None:
        self._device = device
        self.bytes: NDArray[np.uint8] = np.full(size, _NOTHING, np.uint8)
        self.is_free = False
        device.stagings.append(self)

    def free(self) -> None:
        self._device.forbid_capture("freeing staging")
        if self._device.queue:
            raise Misuse("staging is freed while work is queued")
        self.is_free = True
        self._device.stagings.remove(self)


class StandinGraph:
    def __init__(
        self, device: StandinDevice, work: list[Work], runs: list[tuple[StandinExecution, int]]
    ) -> None:
        self._device = device
        self._work = work
        self._runs = runs
        self.launches = 0
        self.is_free = False

    def launch(self) -> None:
        if self.is_free:
            raise Misuse("a freed graph is launched")
        for execution, changes in self._runs:
            if execution.changes != changes:
                raise Misuse("the execution of a captured graph was given other shapes or addresses since")
        self.launches += 1
        for work in self._work:
            self._device.put(work)

    def free(self) -> None:
        self.is_free = True


class StandinExecution:
    def __init__(self, plan: StandinPlan, profile: int, scratch: Address) -> None:
        self._plan = plan
        self._ranges = plan.profiles[profile]
        self._scratch = scratch
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, Address] = {}
        self._has_run = False
        self.changes = 0
        self.is_free = False

    def shape(self, name: str, shape: Sequence[int]) -> None:
        tensor = self._plan.tensors[name]
        if not tensor.is_input or not self._ranges[name].admits(shape):
            raise Misuse(f"{name} is not taken as {tuple(shape)}: {self._ranges.get(name)}")
        if self._shapes.get(name) != tuple(shape):
            self._shapes[name] = tuple(shape)
            self._has_run = False
            self.changes += 1

    def bind(self, name: str, address: Address) -> None:
        if address % ALIGNMENT:
            raise Misuse(f"{name} is not aligned")
        if self._addresses.get(name) != address:
            self._addresses[name] = address
            self.changes += 1

    def enqueue(self) -> None:
        device, plan = self._plan.device, self._plan
        if self.is_free or plan.is_free:
            raise Misuse("something freed is run")
        missing = [n for n, t in plan.tensors.items() if n not in self._addresses] + [
            n for n, t in plan.tensors.items() if t.is_input and n not in self._shapes
        ]
        if missing:
            raise Misuse(f"{missing[0]} has no shape or address")
        if device.capturing is not None:
            if not self._has_run:
                raise Misuse("a run in a new shape is captured: it must have been run once before")
            device.capturing_runs.append((self, self.changes))
        self._has_run = True
        feeds = {n: (self._addresses[n], self._shapes[n]) for n, t in plan.tensors.items() if t.is_input}
        outputs = {
            n: (self._addresses[n], plan.output_shape(n, feeds))
            for n, t in plan.tensors.items()
            if not t.is_input
        }
        used = {
            n: (address, plan.tensors[n].size_bytes(shape))
            for n, (address, shape) in (feeds | outputs).items()
        }
        _check_overlaps(plan, used)
        work = lambda: plan.run(feeds, outputs, self._scratch)  # noqa: E731
        device.put(Work(work, (*used.values(), (self._scratch, plan.scratch_bytes))))

    def free(self) -> None:
        self.is_free = True


def _check_overlaps(plan: StandinPlan, used: Mapping[str, tuple[Address, int]]) -> None:
    """An output may lie where an input does only if it is that input's own cache, written in place."""
    for name, (address, size) in used.items():
        if plan.tensors[name].is_input:
            continue
        for other, (where, length) in used.items():
            if other == name or where + length <= address or address + size <= where:
                continue
            own = other == name.replace("present.", "past.") and name.endswith((".key", ".value"))
            if not own:
                raise Misuse(f"{name} is written over {other}, which the same run uses")


class StandinPlan:
    def __init__(self, device: StandinDevice, said: dict[str, Any]) -> None:
        self.device = device
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(said["onnx"], options, providers=["CPUExecutionProvider"])
        given = {one.name: one for one in self._session.get_inputs()}
        taken = {one.name: one for one in self._session.get_outputs()}
        self._axes = {name: one.shape for name, one in (given | taken).items()}
        self.profiles: list[dict[str, Range]] = [
            {name: self._range(one.shape, axes) for name, one in given.items()} for axes in said["profiles"]
        ]
        self.tensors: dict[str, PlanTensor] = {}
        for name, one in (given | taken).items():
            dtype, bits = _TYPES[one.type]
            # An axis that every profile fixes to the same size is a fixed axis.
            shape = tuple(self._fixed(size, said["profiles"]) for size in one.shape)
            self.tensors[name] = PlanTensor(name, dtype, bits, shape, name in given)
        self.scratch_bytes = 4096
        self.is_free = False
        self.runs = 0

    def execution(self, profile: int, scratch: Address) -> StandinExecution:
        self.device.forbid_capture("making an execution")
        execution = StandinExecution(self, profile, scratch)
        self.device.executions.append(execution)
        return execution

    def free(self) -> None:
        self.is_free = True

    def output_shape(
        self, name: str, feeds: Mapping[str, tuple[Address, tuple[int, ...]]]
    ) -> tuple[int, ...]:
        sizes: dict[str, int] = {}
        for feed, (_, shape) in feeds.items():
            sizes |= {
                axis: size
                for axis, size in zip(self._axes[feed], shape, strict=True)
                if isinstance(axis, str)
            }
        if "P" in sizes:
            sizes["M"] = sizes["P"] // 4  # the tests' towers merge two by two
        return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in self._axes[name])

    def run(
        self,
        feeds: Mapping[str, tuple[Address, tuple[int, ...]]],
        outputs: Mapping[str, tuple[Address, tuple[int, ...]]],
        scratch: Address,
    ) -> None:
        self.runs += 1
        self.device.at(scratch, self.scratch_bytes)[:] = self.runs % 256
        binding = self._session.io_binding()
        kept = []
        for bind, tensors in ((binding.bind_input, feeds), (binding.bind_output, outputs)):
            for name, (address, shape) in tensors.items():
                tensor = self.tensors[name]
                array = self.device.at(address, tensor.size_bytes(shape)).view(tensor.dtype).reshape(shape)
                kept.append(array)
                bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)

    def _range(self, shape: Sequence[int | str], axes: Mapping[str, Sequence[int]]) -> Range:
        least = tuple(axes[size][0] if isinstance(size, str) else size for size in shape)
        return Range(least, tuple(axes[size][1] if isinstance(size, str) else size for size in shape))

    def _fixed(self, size: int | str, profiles: Sequence[Mapping[str, Sequence[int]]]) -> int:
        if not isinstance(size, str):
            return size
        known = {tuple(axes.get(size, (0, -1))) for axes in profiles}
        (least, most), *others = known
        return least if least == most and not others else -1


class StandinCapture:
    graph: StandinGraph


@dataclass
class StandinDevice:
    """`memory_bytes`: how much there is. The lists let tests see what was done."""

    memory_bytes: int = 1 << 30
    name: str = "stand-in"
    queue: list[Work] = field(default_factory=list)
    capturing: list[Work] | None = None
    capturing_runs: list[tuple[StandinExecution, int]] = field(default_factory=list)
    stagings: list[StandinStaging] = field(default_factory=list)
    executions: list[StandinExecution] = field(default_factory=list)
    graphs: list[StandinGraph] = field(default_factory=list)
    plans: list[StandinPlan] = field(default_factory=list)
    memory: dict[Address, NDArray[np.uint8]] = field(default_factory=dict)
    synchronisations: int = 0
    is_closed: bool = False

    def __post_init__(self) -> None:
        self._next = _FIRST
        self._starts: list[Address] = []

    def free_bytes(self) -> int:
        return self.memory_bytes - sum(block.size for block in self.memory.values())

    def allocate(self, size: int) -> Address:
        self.forbid_capture("allocating")
        if size > self.free_bytes():
            raise NotEnoughMemory(f"the stand-in has {self.free_bytes()} bytes left, not {size}")
        raw = np.full(size + ALIGNMENT, _NOTHING, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        address = self._next
        self.memory[address] = raw[start : start + size]
        self._starts.append(address)
        self._next += -(-size // _GAP) * _GAP + _GAP
        return address

    def free(self, address: Address) -> None:
        self.forbid_capture("freeing")
        if address not in self.memory:
            raise Misuse(f"{address:#x} is freed and was not allocated, or is freed twice")
        end = address + self.memory[address].size
        for work in self.queue:
            if any(address <= used < end for used, _ in work.uses):
                raise Misuse("memory is freed that queued work uses")
        del self.memory[address]
        self._starts.remove(address)

    def at(self, address: Address, size: int) -> NDArray[np.uint8]:
        """The memory at an address, for work that is done now."""
        place = bisect.bisect_right(self._starts, address) - 1
        start = self._starts[place] if place >= 0 else 0
        block = self.memory.get(start)
        if block is None or address - start + size > block.size:
            raise Misuse(f"{size} bytes at {address:#x} are not allocated")
        return block[address - start : address - start + size]

    def staging(self, size: int) -> StandinStaging:
        self.forbid_capture("allocating staging")
        return StandinStaging(self, size)

    def upload(self, target: Address, source: NDArray[Any]) -> None:
        self._must_be_staging(source)
        raw = source.view(np.uint8)
        self.put(Work(lambda: np.copyto(self.at(target, raw.size), raw), ((target, raw.size),)))

    def download(self, target: NDArray[Any], source: Address) -> None:
        self._must_be_staging(target)
        raw = target.view(np.uint8)
        self.put(Work(lambda: np.copyto(raw, self.at(source, raw.size)), ((source, raw.size),), spoils=raw))

    def copy(self, target: Address, source: Address, size: int) -> None:
        self.copy_rows(target, size, source, size, size, 1)

    def copy_rows(
        self, target: Address, target_pitch: int, source: Address, source_pitch: int, width: int, rows: int
    ) -> None:
        if width > min(target_pitch, source_pitch):
            raise Misuse("rows are wider than they lie apart")

        def do() -> None:
            for row in range(rows):
                there = self.at(target + row * target_pitch, width)
                np.copyto(there, self.at(source + row * source_pitch, width))

        spans = ((target, target_pitch * (rows - 1) + width), (source, source_pitch * (rows - 1) + width))
        self.put(Work(do, spans))

    def clear(self, target: Address, size: int) -> None:
        self.put(Work(lambda: self.at(target, size).fill(0), ((target, size),)))

    def synchronise(self) -> None:
        self.forbid_capture("waiting")
        self.synchronisations += 1
        queue, self.queue = self.queue, []
        for work in queue:
            work.do()

    @contextmanager
    def capture(self) -> Iterator[StandinCapture]:
        self.forbid_capture("another capture")
        self.capturing, self.capturing_runs = [], []
        captured = StandinCapture()
        try:
            yield captured
        finally:
            work, runs, self.capturing, self.capturing_runs = self.capturing, self.capturing_runs, None, []
        captured.graph = StandinGraph(self, work, runs)
        self.graphs.append(captured.graph)

    def load(self, plan: bytes) -> StandinPlan:
        said = json.loads(plan)
        if said["version"] != VERSION:
            raise IncompatibleBundle(f"the plan is of {said['version']}, this is {VERSION}: compile it again")
        loaded = StandinPlan(self, said)
        self.plans.append(loaded)
        return loaded

    def close(self) -> None:
        self.is_closed = True

    def put(self, work: Work) -> None:
        """Queues work, or writes it down while capturing."""
        if self.is_closed:
            raise Misuse("the device was closed")
        if self.capturing is not None:
            self.capturing.append(work)
            return
        if work.spoils is not None:
            work.spoils.fill(_NOTHING)
        self.queue.append(work)

    def forbid_capture(self, what: str) -> None:
        if self.capturing is not None:
            raise Misuse(f"{what} while work is captured")

    def _must_be_staging(self, array: NDArray[Any]) -> None:
        if not array.flags.c_contiguous:
            raise Misuse("a copy of memory that is not in one piece")
        if not any(np.may_share_memory(array, one.bytes) for one in self.stagings):
            raise Misuse("memory that is not page-locked (or was freed) is copied asynchronously")


def plan_text(graph: Path, *profiles: Mapping[str, tuple[int, int]], version: str = VERSION) -> bytes:
    """A plan for `StandinDevice.load`; `profiles`: least and most of each axis of the graph by its name."""
    return json.dumps({"onnx": str(graph), "profiles": list(profiles), "version": version}).encode()


def with_weights_outside(graph: Path, out: Path, least_bytes: int) -> dict[str, NDArray[Any]]:
    """Writes the graph again with its larger weights as inputs; gives their values."""
    model = onnx.load(graph)
    outside: dict[str, NDArray[Any]] = {}
    for tensor in list(model.graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        kind = tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
        if values.nbytes < least_bytes or not kind or "norm" in tensor.name:
            continue
        outside[tensor.name] = values
        model.graph.initializer.remove(tensor)
        model.graph.input.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, values.shape)
        )
    onnx.save(model, out)
    return outside
