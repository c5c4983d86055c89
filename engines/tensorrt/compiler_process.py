"""One graph compiled in a process of its own, for TensorRT keeps memory, and ends where it fails badly.

`python -m lineside.engines.tensorrt.compiler_process JOB` reads a job (JSON), writes the plan, and prints
lines of JSON: `{"step": done, "of": all}` while it works, and at last `{"done": {…}}` or `{"error": "…"}`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lineside.engines.errors import EngineError
from lineside.engines.tensorrt import timing_cache
from lineside.engines.tensorrt.forecast import WORKSPACE_BYTES
from lineside.engines.tensorrt.library import Library, Runtime, load
from lineside.engines.tensorrt.network import (
    CannotCompile,
    Complaints,
    kernels_of,
    layer_counts,
    parse,
    tensors_of,
)
from lineside.engines.tensorrt.plugins import PluginSizes, define_plugins

Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Job:
    """What to compile. `model`: an ONNX file; `plan`: where the plan goes; `timing`: folder of timing caches.

    `shapes`: least, usual and most of every input that has no fixed shape; `plugins`: what our kernels are
    compiled for, None where the graph has none of them.
    """

    runtime: Runtime
    sm: int
    model: str
    plan: str
    timing: str
    shapes: Shapes
    plugins: PluginSizes | None = None

    def text(self) -> str:
        """As the process reads it."""
        return json.dumps(asdict(self))


def compile_graph(library: Library, job: Job, progress: Any = None) -> tuple[bytes, dict[str, Any]]:
    """The plan of a job's graph, and what is known about it. `progress`: an IProgressMonitor.

    Raises:
        CannotCompile: with the library's own words.
    """
    trt: Any = library.trt
    complaints = Complaints()
    logger = complaints.logger(library)
    builder = trt.Builder(logger)
    model = Path(job.model).read_bytes()
    if job.plugins is not None:
        define_plugins(job.plugins, job.sm)
    network = parse(library, builder, logger, model)
    config = builder.create_builder_config()
    # float32 stands where half precision was too little: TF32 would be half precision again.
    config.clear_flag(trt.BuilderFlag.TF32)
    if library.targets:
        config.num_compute_capabilities = 1
        config.set_compute_capability(library.capability(job.sm), 0)
    else:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    if job.shapes:
        profile = builder.create_optimization_profile()
        for name, (least, usual, most) in job.shapes.items():
            profile.set_shape(name, tuple(least), tuple(usual), tuple(most))
        if config.add_optimization_profile(profile) < 0:
            raise CannotCompile(f"TensorRT refuses the range of sizes: {complaints.text()}")
    if progress is not None:
        config.progress_monitor = progress
    kept = timing_cache.cache_path(Path(job.timing), library, job.sm)
    timing_cache.lend(library, config, kept)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise CannotCompile(f"TensorRT cannot compile the graph: {complaints.text()}")
    timing_cache.keep(library, config, kept)
    data = bytes(plan)
    inputs, outputs = tensors_of(network)
    return data, {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "inputs": inputs,
        "outputs": outputs,
        "layers": dict(layer_counts(network)),
        "kernels": sorted(kernels_of(data)),
    }


def _monitor(library: Library) -> Any:
    """Prints how much of the outermost phases is done."""
    trt: Any = library.trt

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.depth: dict[str, int] = {}
            self.steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.depth[name] = self.depth.get(parent or "", 0) + 1
            self.steps[name] = steps

        def step_complete(self, name: str, step: int) -> bool:
            if self.depth.get(name, 9) <= 2:
                _say({"phase": name, "step": step + 1, "of": self.steps.get(name, 0)})
            return True

        def phase_finish(self, name: str) -> None:
            self.depth.pop(name, None)

    return Monitor()


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Runs one job; 0 when it is done, 1 when it was refused."""
    started = time.monotonic()
    raw = json.loads(Path(arguments[0]).read_text("utf-8"))
    sizes = raw.pop("plugins")
    job = Job(**raw, plugins=None if sizes is None else PluginSizes(**sizes))
    try:
        library = load(job.runtime)
        plan, facts = compile_graph(library, job, _monitor(library))
    except EngineError as error:
        _say({"error": str(error)})
        return 1
    path = Path(job.plan)
    with path.open("wb") as file:
        file.write(plan)
        file.flush()
        os.fsync(file.fileno())
    _say({"done": {**facts, "seconds": round(time.monotonic() - started, 2), "peak_bytes": _peak_bytes()}})
    return 0


def _peak_bytes() -> int:
    """The most memory this program ever held. Not `ru_maxrss`, which begins with what the parent held."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), flags=re.M)
    return int(found[1]) << 10 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
