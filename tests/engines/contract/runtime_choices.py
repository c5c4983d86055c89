"""Every runtime by a name: how the same bundle is opened on it, and how near its numbers must come."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from standin_device import StandinDevice, plan_text, with_weights_outside

from lineside.engines.answering.runtime import Loaded
from lineside.engines.answering.session import EngineSession
from lineside.engines.bundle import Bundle, open_bundle
from lineside.engines.commands import engine as commands
from lineside.engines.config import ModelConfig
from lineside.engines.errors import EngineError
from lineside.engines.open import Engine, assemble
from lineside.engines.runtimes import Runtime
from lineside.engines.tensorrt import compile as compiling
from lineside.engines.tensorrt.cuda import chip
from lineside.engines.tensorrt.library import Library
from lineside.engines.tensorrt.library import Runtime as Compiled
from lineside.engines.tensorrt.library import load as load_library
from lineside.engines.tensorrt.opening import checked_build, plan_files
from lineside.engines.tensorrt.plans import CompiledGraph, Target
from lineside.engines.tensorrt.profiles import Sizes
from lineside.engines.tensorrt.session import PlanFiles, load

Grids = Sequence[tuple[int, int]]
CONTEXT = 512
KINDS = {onnx.TensorProto.FLOAT: "FLOAT", onnx.TensorProto.FLOAT16: "HALF", onnx.TensorProto.INT64: "INT64"}
ANY = {"B": (1, 8), "T": (1, CONTEXT), "N": (1, 4096), "K": (1, 1), "S": (1, CONTEXT)}
STEP = {"B": (1, 1), "T": (1, 1), "N": (1, 1), "K": (1, 1), "S": (CONTEXT, CONTEXT)}
PREFILL = {"B": (1, 1), "T": (1, 32), "N": (1, 4096), "K": (1, 1), "S": (CONTEXT, CONTEXT)}
VISION = {"B": (1, 1), "P": (1, 4096), "M": (1, 1024)}


@dataclass(frozen=True)
class Choice:
    """`open(bundle, folder, **options)`; `tolerance`: of probabilities, against the reference.

    `logits`: of logits, of the largest. `dense`: asked without a mixture of experts, because half precision
    sends a token to another expert where two are nearly level, and random experts have nothing in common.
    """

    name: str
    open: Callable[..., EngineSession]
    tolerance: float = 1e-5
    logits: float = 1e-4
    dense: bool = False


def standin_runtime(device: StandinDevice, folder: Path, *, tight: bool) -> Runtime:
    """The TensorRT session over the stand-in. `tight`: as on a GPU, a plan for one token and one for a few,
    of one row and a fixed capacity, and weights as inputs; else one plan that takes any shape."""

    def load_on(bundle: Bundle, config: ModelConfig, _context: int, _threads: int | None) -> Loaded:
        build = bundle.manifest.onnx
        assert build is not None
        graph = bundle.path(build.decoder)
        outside: dict[str, Any] = {}
        plans = [plan_text(graph, ANY)]
        if tight:
            folder.mkdir(exist_ok=True)
            outside = with_weights_outside(graph, folder / "fed.onnx", 4000)
            assert len(outside) > 10
            plans = [plan_text(folder / "fed.onnx", axes) for axes in (PREFILL, STEP)]
        visions = {}
        if build.vision is not None:
            text = plan_text(bundle.path(build.vision), VISION)
            visions = {None: lambda: text}
        files = PlanFiles(
            tuple((lambda one=one: one) for one in plans),
            visions,
            weight=(lambda part, name: np.array_split(outside[name].reshape(-1), 3)) if tight else None,
        )
        return load(device, files, config.vision)

    return Runtime("tensorrt", load_on, on_host=False)


def _standin(tight: bool) -> Callable[..., EngineSession]:
    def opened(
        bundle: Path, folder: Path, *, device: StandinDevice | None = None, **options: Any
    ) -> EngineSession:
        verified = open_bundle(bundle, folder)
        runtime = standin_runtime(device or StandinDevice(), folder / "plans", tight=tight)
        return assemble(verified, runtime, **options)

    return opened


def _compiled_for_standin(
    bundle: Bundle,
    config: ModelConfig,
    folder: Path,
    context: int,
    grids: Grids,
    monkeypatch: pytest.MonkeyPatch,
) -> PlanFiles:
    """The graphs, weights and embedding table that `lineside engine compile` makes; only TensorRT's own part
    of it, from a graph to a plan, is left to the stand-in."""

    def keep_graph(work: Any, graph: Any, _watcher: Any) -> CompiledGraph:
        model, plan = (work.folder / f"{graph.name}.{kind}" for kind in ("onnx", "plan"))
        onnx.save(graph.model, model)
        ranges = work.wanted.sizes.ranges()
        plan.write_bytes(plan_text(model, {axis: (one.least, one.most) for axis, one in ranges.items()}))
        return CompiledGraph(
            file=plan.name,
            sha256=hashlib.sha256(plan.read_bytes()).hexdigest(),
            bytes=plan.stat().st_size,
            inputs={
                one.name: {"dtype": KINDS[one.type.tensor_type.elem_type], "shape": []}
                for one in graph.model.graph.input
            },
            outputs={},
            shapes={},
            layers={},
            kernels=(),
            seconds=0.0,
            peak_bytes=0,
            grid=graph.grid,
        )

    chips = SimpleNamespace(ComputeCapability=SimpleNamespace(__members__={"SM89": 89}))
    library = Library("tensorrt-rtx", "1.0", chips)  # type: ignore[arg-type]
    monkeypatch.setattr(compiling, "_compile", keep_graph)
    wanted = compiling.Wanted(Sizes(context, rows=4, prefill=48, pictures=512), grids)
    compiling.compile_bundle(bundle, library, 89, wanted, folder)
    build = checked_build(bundle, Target("tensorrt-rtx", "1.0", 89), context, folder)
    return plan_files(build, bundle, config)


def standin_compiled(
    bundle: Path,
    folder: Path,
    *,
    grids: Grids = ((8, 10), (4, 4)),
    device: StandinDevice | None = None,
    **options: Any,
) -> EngineSession:
    """A bundle compiled but for TensorRT's own part, on the stand-in.

    `grids`: by default of pictures of 40x32 and of frames of the tests' clip.
    """

    def load_on(opened: Bundle, config: ModelConfig, context: int, _threads: int | None) -> Loaded:
        with pytest.MonkeyPatch.context() as monkeypatch:
            files = _compiled_for_standin(opened, config, folder / "cache", context, grids, monkeypatch)
        return load(device or StandinDevice(), files, config.vision)

    return assemble(open_bundle(bundle, folder), Runtime("tensorrt", load_on, on_host=False), **options)


def _by_name(name: str) -> Callable[..., EngineSession]:
    def opened(bundle: Path, folder: Path, **options: Any) -> EngineSession:
        try:
            return Engine.open(bundle, name, threads=1, cache=folder, **options)
        except EngineError as error:
            pytest.skip(f"not run on {name}: {error}")

    return opened


def _compiled(runtime: Compiled) -> Callable[..., EngineSession]:
    """On a machine with a GPU the bundle is compiled for it first, by the command that users have."""

    def opened(bundle: Path, folder: Path, **options: Any) -> EngineSession:
        try:
            load_library(runtime)
            chip()
        except EngineError as error:
            pytest.skip(f"not run on {runtime}: {error}")
        asked = ["compile", str(bundle), "--runtime", runtime, "--image", "40x32", "--image", "16x16"]
        done = CliRunner().invoke(commands, asked, env={"LINESIDE_CACHE": str(folder)})
        assert done.exit_code == 0, done.output
        return Engine.open(bundle, runtime, cache=folder / "engines", **options)

    return opened


CHOICES = (
    Choice("onnxruntime", _by_name("onnxruntime")),
    Choice("tensorrt-standin", _standin(tight=False)),
    Choice("tensorrt-standin-tight", _standin(tight=True)),
    Choice("tensorrt-standin-compiled", standin_compiled, 3e-2, 5e-2, dense=True),
    Choice("onnxruntime-cuda", _by_name("onnxruntime-cuda"), 1e-3, 1e-3),
    Choice("onnxruntime-tensorrt-rtx", _by_name("onnxruntime-tensorrt-rtx"), 1e-2, 1e-2),
    # The GPU's half precision: random weights enlarge every rounding.
    Choice("tensorrt", _compiled("tensorrt"), 5e-2, 5e-2, dense=True),
    Choice("tensorrt-rtx", _compiled("tensorrt-rtx"), 5e-2, 5e-2, dense=True),
)
