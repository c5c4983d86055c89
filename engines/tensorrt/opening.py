"""Opens a bundle on the device it was compiled for: finds the build, checks it, and loads its plans.

Knows builds and where their files lie; the device is whatever keeps `device.py`'s rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.engines.answering.runtime import Integers, Loaded
from lineside.engines.bundle import Bundle
from lineside.engines.config import ModelConfig
from lineside.engines.errors import RuntimeMissing
from lineside.engines.tensorrt.calls import TEXT_EMBEDS
from lineside.engines.tensorrt.cuda import CudaDevice
from lineside.engines.tensorrt.library import LibraryMissing, Runtime
from lineside.engines.tensorrt.library import load as load_library
from lineside.engines.tensorrt.plans import (
    Build,
    CompiledGraph,
    PlanRefused,
    Target,
    WeightFile,
    builds_root,
    check_files,
    find_build,
    list_builds,
)
from lineside.engines.tensorrt.session import PlanFiles, load
from lineside.engines.tensorrt.stored_graph import StoredGraph
from lineside.engines.tensorrt.vision import Grid
from lineside.engines.tensorrt.weights import EmbeddingTable
from lineside.engines.verification import VerificationRecords

_DECODERS = ("step", "prefill")
_PIECE_BYTES = 16 << 20


def has_builds(bundle: Bundle, runtime: Runtime, cache: Path) -> bool:
    """Whether the bundle was ever compiled for a runtime; which machine for is not asked."""
    builds = list_builds(builds_root(cache), bundle.manifest.digest)
    return any(build.target.runtime == runtime for build in builds)


def open_build(bundle: Bundle, config: ModelConfig, context: int, runtime: Runtime, cache: Path) -> Loaded:
    """Loads the plans that were compiled for this very device and library.

    Raises:
        RuntimeMissing: there is no library, no GPU, or no build for them; the message says what to do.
        NotEnoughMemory: the GPU has too little memory.
    """
    try:
        library = load_library(runtime)
    except LibraryMissing as error:
        raise RuntimeMissing(str(error)) from error
    device = CudaDevice(library)
    try:
        build = checked_build(bundle, Target(runtime, library.version, device.sm), context, cache)
        return load(device, plan_files(build, bundle, config), config.vision)
    except BaseException:
        device.close()
        raise


def checked_build(bundle: Bundle, target: Target, context: int, cache: Path) -> Build:
    """The build for a target, its files as they were written.

    Raises:
        RuntimeMissing: there is none that may be run.
    """
    try:
        build = find_build(builds_root(cache), bundle.manifest.digest, target, context=context)
        check_files(build, VerificationRecords(cache / "verified"))
    except PlanRefused as error:
        raise RuntimeMissing(str(error)) from error
    return build


def plan_files(build: Build, bundle: Bundle, config: ModelConfig) -> PlanFiles:
    """A build's plans and weights, to be read when they are wanted.

    Raises:
        RuntimeMissing: it has no plans of the decoder.
    """
    missing = [name for name in _DECODERS if name not in build.graphs]
    if missing:
        raise RuntimeMissing(
            f"the build {build.folder.name} has no plan {missing[0]}: run `lineside engine compile --again`"
        )
    decoders = [build.graphs[name] for name in _DECODERS]
    visions: dict[Grid | None, CompiledGraph] = {
        graph.grid: graph for graph in build.graphs.values() if graph.grid is not None
    }
    table = None
    onnx = bundle.manifest.onnx
    if onnx is not None and any(TEXT_EMBEDS in graph.inputs for graph in decoders):
        kinds = {str(graph.inputs[TEXT_EMBEDS]["dtype"]) for graph in decoders if TEXT_EMBEDS in graph.inputs}
        kind = np.float16 if kinds == {"HALF"} else np.float32
        text = config.text
        held = EmbeddingTable(StoredGraph(bundle.path(onnx.decoder)), (text.vocab_size, text.hidden), kind)
        table = partial(_rows, held)
    return PlanFiles(
        decoders=tuple(partial(build.path(graph.file).read_bytes) for graph in decoders),
        visions={grid: partial(build.path(graph.file).read_bytes) for grid, graph in visions.items()},
        weight=partial(_pieces, build, build.weights),
        table=table,
    )


def _rows(table: EmbeddingTable, ids: Integers) -> NDArray[Any]:
    return table.rows(ids)


def _pieces(
    build: Build, files: Mapping[str, WeightFile], part: str, name: str
) -> Iterator[NDArray[np.uint8]]:
    """A weight's bytes, a few megabytes at a time: nothing for one that the build does not have."""
    file = files.get(part)
    if file is None or name not in file.places:
        return
    place = file.places[name]
    with build.path(file.file).open("rb") as stream:
        stream.seek(place.offset)
        left = place.bytes
        while left:
            data = stream.read(min(left, _PIECE_BYTES))
            if not data:
                return
            left -= len(data)
            yield np.frombuffer(data, np.uint8)
