"""How much memory an engine needs for a context, and how much there is: said before anything is loaded.

Knows a bundle's files and the shapes of a decoder's past; does not know runtimes. What a runtime needs beside
(work space of a call, its own code) is not in these numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from lineside.engines.bundle import Bundle
from lineside.engines.errors import NotEnoughMemory
from lineside.engines.manifest import OnnxBuild

_STATE_BYTES = 4  # states are float32 in the graph contract
_ROWS, _CAPACITY = "B", "S"


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes: of the graphs with their weights, of the states whatever their length, and for each token."""

    graphs: int
    fixed_states: int
    per_token: int

    def states(self, context_tokens: int) -> int:
        """Bytes of a sequence's past when the context is full."""
        return self.fixed_states + self.per_token * context_tokens

    def total(self, context_tokens: int) -> int:
        """Bytes in all when the context is full."""
        return self.graphs + self.states(context_tokens)

    def most_tokens(self, free: int) -> int:
        """The largest context that fits into `free` bytes; below 1 where none does."""
        left = free - self.graphs - self.fixed_states
        return left // self.per_token if self.per_token else (1 << 62 if left > 0 else 0)

    def check(self, name: str, context_tokens: int, free: int | None) -> None:
        """
        Raises:
            NotEnoughMemory: `name` with this context does not fit; says how much context would.
        """
        if free is None or self.total(context_tokens) <= free:
            return
        most = self.most_tokens(free)
        advice = (
            f"open it with context_tokens of at most {most}" if most > 0 else "take a smaller or int4 engine"
        )
        raise NotEnoughMemory(
            f"{name} needs {size_text(self.total(context_tokens))} for a context of {context_tokens} tokens "
            f"({size_text(self.graphs)} for its weights, {size_text(self.states(context_tokens))} for its "
            f"states), and {size_text(free)} are free: {advice}"
        )


def memory_need(bundle: Bundle) -> MemoryNeed:
    """What a bundle's ONNX build needs. Without shapes in the manifest, states count as nothing."""
    build = bundle.manifest.onnx
    graphs = sum(
        bundle.path(name).stat().st_size for name in bundle.manifest.files if name.startswith("onnx/")
    )
    if bundle.manifest.precision.startswith("fp16"):
        graphs *= 2  # the runtime unfolds float16 weights to float32 when it loads them
    fixed, per_token = state_bytes(build) if build is not None else (0, 0)
    return MemoryNeed(graphs, fixed, per_token)


def state_bytes(build: OnnxBuild) -> tuple[int, int]:
    """Bytes of one sequence's states: whatever its length, and for each of its tokens."""
    fixed = per_token = 0
    for shape in build.states.values():
        numbers = prod(size for size in shape if isinstance(size, int))
        if _CAPACITY in shape:
            per_token += _STATE_BYTES * numbers
        else:
            fixed += _STATE_BYTES * numbers
    return fixed, per_token


def free_bytes(root: Path = Path("/")) -> int | None:
    """Memory that could be used without anything being swapped out or killed; None where nobody says.

    The least of what the machine has and what the control group of this process still allows.
    """
    found = [value for value in (_machine(root), _group(root)) if value is not None]
    return min(found) if found else None


def total_bytes(root: Path = Path("/")) -> int | None:
    """The machine's memory; None where nobody says."""
    return _meminfo(root, "MemTotal")


def _machine(root: Path) -> int | None:
    return _meminfo(root, "MemAvailable")


def _meminfo(root: Path, wanted: str) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, rest = line.partition(":")
        if name == wanted:
            return int(rest.split()[0]) << 10
    return None


def _group(root: Path) -> int | None:
    """What is left of a version 2 control group's limit; file cache can be given back and is not counted."""
    try:
        named = (root / "proc/self/cgroup").read_text().splitlines()
        place = next(line.removeprefix("0::/") for line in named if line.startswith("0::/"))
        folder = root / "sys/fs/cgroup" / place
        limit = (folder / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((folder / "memory.current").read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(int(limit) - used + int(statistics.get("inactive_file", "0")), 0)
    except (OSError, StopIteration, ValueError):
        return None


def size_text(size: int) -> str:
    """Bytes as people read them."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit in ("B", "KiB") else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
