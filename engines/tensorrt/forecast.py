"""What compiling will take, said before it begins: memory, disk and time; and what running takes.

Weights are counted exactly. What the compiler itself takes is a rule from builds that were measured, unless
this machine has compiled the same graphs before. Knows sizes; does not know the library.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lineside.engines.errors import NotEnoughMemory
from lineside.engines.memory import free_bytes, size_text
from lineside.engines.room import CannotBuild
from lineside.engines.tensorrt.library import Runtime
from lineside.engines.tensorrt.plans import Build

WORKSPACE_BYTES = 1 << 30
"""What TensorRT may take of the device to try kernels in."""
# Measured with TensorRT-RTX 1.7.1 on two cores, weights as inputs (docs/tensorrt.md): what a process that has
# loaded the library takes, and what each node and each loop (a layer's delta rule in a prefill) adds.
_LIBRARY_BYTES, _LIBRARY_SECONDS = 300 << 20, 1.5
_NODE_BYTES, _NODE_SECONDS, _NODE_PLAN_BYTES = 180 << 10, 0.008, 7 << 10
_LOOP_BYTES, _LOOP_SECONDS, _LOOP_PLAN_BYTES = 32 << 20, 3.0, 4 << 20


@dataclass(frozen=True, slots=True)
class GraphToCompile:
    """A graph's size: `nodes`, `loops` among them, and bytes `inside` it."""

    name: str
    nodes: int
    loops: int
    inside: int

    @property
    def plan_bytes(self) -> int:
        """Of the plan, by the rule."""
        return self.inside + self.nodes * _NODE_PLAN_BYTES + self.loops * _LOOP_PLAN_BYTES

    @property
    def peak_bytes(self) -> int:
        """Of memory, by the rule; what lies inside is there as it is parsed and as it is compiled."""
        return _LIBRARY_BYTES + self.nodes * _NODE_BYTES + self.loops * _LOOP_BYTES + 4 * self.inside

    @property
    def seconds(self) -> float:
        """By the rule."""
        return _LIBRARY_SECONDS + self.nodes * _NODE_SECONDS + self.loops * _LOOP_SECONDS


@dataclass(frozen=True, slots=True)
class Forecast:
    """`peak_bytes`: of memory; `seconds`: None where nobody knows; `measured`: from last time."""

    weights_bytes: int
    disk_bytes: int
    peak_bytes: int
    seconds: float | None
    measured: bool

    def lines(self) -> list[str]:
        """For people."""
        if self.seconds is None:
            time = "unknown: TensorRT measures kernels on the device, which takes minutes the first time"
        else:
            time = f"about {_span(self.seconds)}" + (
                ", as last time on this machine" if self.measured else ", by the rule in docs/tensorrt.md"
            )
        return [
            f"needs {size_text(self.peak_bytes)} of memory and {size_text(self.disk_bytes)} of disk "
            f"({size_text(self.weights_bytes)} of it weights)",
            f"time: {time}",
        ]

    def check(self, folder: Path) -> None:
        """
        Raises:
            NotEnoughMemory: less is free than compiling takes.
            CannotBuild: the disk has no room.
        """
        free = free_bytes()
        if free is not None and self.peak_bytes > free:
            raise NotEnoughMemory(
                f"compiling needs {size_text(self.peak_bytes)} of memory, and {size_text(free)} are "
                "free: stop other "
                "programs (the inspection service among them), or add swap for the time of it"
            )
        room = shutil.disk_usage(folder).free
        if self.disk_bytes > room:
            raise CannotBuild(
                f"compiling needs {size_text(self.disk_bytes)} of disk, and {size_text(room)} are "
                f"free in {folder}: "
                "free some room, or name another place with LINESIDE_CACHE"
            )


def forecast(
    runtime: Runtime, graphs: list[GraphToCompile], new_weights: int, before: Mapping[str, Build]
) -> Forecast:
    """What compiling these graphs takes, writing `new_weights` bytes of weights.

    `before`: for each graph's name, an earlier build on this machine that has it.
    """
    known = [before[one.name].graphs[one.name] for one in graphs if one.name in before]
    measured = bool(graphs) and len(known) == len(graphs)
    plans = sum(one.plan_bytes for one in graphs)
    if measured:
        peak = max(one.peak_bytes for one in known)
        seconds: float | None = sum(one.seconds for one in known)
        plans = sum(one.bytes for one in known)
    else:
        # TensorRT tries kernels on the device while it compiles, in work space of its own.
        work = WORKSPACE_BYTES if runtime == "tensorrt" else 0
        peak = work + max((one.peak_bytes for one in graphs), default=0)
        seconds = None
        if runtime == "tensorrt-rtx":
            seconds = sum(one.seconds for one in graphs)
    return Forecast(new_weights, new_weights + plans, peak, seconds, measured)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"
