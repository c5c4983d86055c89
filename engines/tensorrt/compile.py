"""Compiles a bundle's graphs to plans for one chip: weights to one file, each graph in a process of its own.

What is there already is kept, so that another picture size costs one plan. Nothing counts before its record
is written; a compiler that ends badly loses nothing that was there. Knows how describing, weights,
compiling and records go together; does not know terminals.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from lineside.engines.bundle import Bundle
from lineside.engines.config import ModelConfig, parse_config
from lineside.engines.errors import IncompatibleBundle, UnsupportedModel
from lineside.engines.graph.dialects.given import Rounding
from lineside.engines.graph.fed import Shelf
from lineside.engines.tensorrt.apart import compile_apart
from lineside.engines.tensorrt.chip import chip_here
from lineside.engines.tensorrt.compiler_process import Job
from lineside.engines.tensorrt.describe import Dialects, decoder_graph, dialects_for, vision_graph
from lineside.engines.tensorrt.forecast import Forecast, GraphToCompile, forecast
from lineside.engines.tensorrt.library import Library, LibraryMissing
from lineside.engines.tensorrt.network import has_plugins
from lineside.engines.tensorrt.plans import (
    RECORD,
    Build,
    CompiledGraph,
    Made,
    PlanRefused,
    Target,
    WeightFile,
    build_folder,
    builds_root,
    is_intact,
    list_builds,
    read_record,
    weights_folder,
    write_record,
)
from lineside.engines.tensorrt.plugins import plugin_sizes
from lineside.engines.tensorrt.profiles import Sizes, shapes_of
from lineside.engines.tensorrt.stored_graph import StoredGraph
from lineside.engines.tensorrt.weights import CountingShelf, WeightShelf

# The first chips that have them; what an older one is asked for is refused before anything is written.
_LEAST_CHIP: Mapping[str, int] = {"fp8": 89, "nvfp4": 100}


class Watcher:
    """Whoever watches a compilation; this one does not."""

    def forecast(self, said: Forecast) -> None:
        """What it will take, before anything is begun."""

    def stage(self, name: str) -> None:
        """Something begins: weights being written, a graph being compiled."""

    def step(self, done: int, of: int) -> None:
        """So far of the stage."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to compile.

    `grids`: patches of the pictures that the tower will see; `again`: also what is there.
    """

    sizes: Sizes
    grids: Sequence[tuple[int, int]] = ()
    rounding: Rounding = "stored"
    again: bool = False


@dataclass(frozen=True, slots=True)
class _Graph:
    name: str
    part: str
    model: onnx.ModelProto
    grid: tuple[int, int] | None = None


@dataclass(slots=True)
class _Work:
    """Everything that one call of `compile_bundle` is about."""

    bundle: Bundle
    library: Library
    target: Target
    made: Made
    wanted: Wanted
    config: ModelConfig
    dialects: Dialects
    root: Path
    folder: Path
    sources: dict[str, StoredGraph] = field(default_factory=dict)


def compile_bundle(
    bundle: Bundle, library: Library, sm: int, wanted: Wanted, cache: Path, watcher: Watcher | None = None
) -> Build:
    """Compiles what is wanted and not there yet; gives the whole build.

    Raises:
        LibraryMissing: the library does not compile for this chip.
        IncompatibleBundle: the bundle has no graphs to compile from.
        NotEnoughMemory, CannotBuild: the machine has not the room that was forecast.
        CannotCompile: TensorRT refuses a graph or ends; in its own words.
    """
    watcher = watcher or Watcher()
    _check_chip(library, sm, wanted.rounding)
    work = _work(bundle, library, sm, wanted, cache)
    work.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(work.root / bundle.manifest.digest / ".lock"):
        counted = {part: CountingShelf() for part in work.sources}
        described = _graphs(work, counted)
        there = _there(work, counted)
        graphs = [one for one in described if one.name not in there.graphs]
        weights = {**_written(work, counted), **there.weights}
        missing = [part for part in work.sources if part not in weights]
        said = _forecast(work, graphs, sum(counted[part].bytes for part in missing))
        watcher.forecast(said)
        if not graphs and not missing:
            return there
        said.check(work.folder)
        weights |= _write_weights(work, missing, watcher)
        build = replace(there, weights=weights)
        for one in graphs:
            build = replace(build, graphs={**build.graphs, one.name: _compile(work, one, watcher)})
            # Each by itself: on a small device a plan takes minutes, and somebody may interrupt.
            write_record(build)
        write_record(build)
        _sweep(work)
        return build


def _check_chip(library: Library, sm: int, rounding: Rounding) -> None:
    if library.targets:
        library.capability(sm)
    else:
        here = chip_here()
        if here != sm:
            said = f"this machine's chip is sm_{here}" if here else "this machine has no GPU"
            raise LibraryMissing(
                f"{library.runtime} compiles for the chip it runs on, and {said}: run this on a machine with "
                f"an sm_{sm}, or compile for --runtime tensorrt-rtx"
            )
    least = _LEAST_CHIP.get(rounding, 0)
    if sm < least:
        raise LibraryMissing(
            f"sm_{sm} has no {rounding} numbers; sm_{least} is the first that has: leave --weights "
            "out, or build "
            "an int4 engine (`lineside engine build --precision int4`)"
        )


def _work(bundle: Bundle, library: Library, sm: int, wanted: Wanted, cache: Path) -> _Work:
    build = bundle.manifest.onnx
    name = bundle.manifest.name
    if build is None or build.dialect != "onnxruntime" or build.recurrent_layout != "KV":
        raise IncompatibleBundle(
            f"{name} has no graphs that TensorRT plans are made from: build the engine again with "
            "`lineside engine build`"
        )
    try:
        config = parse_config(bundle.json("config.json"))
    except UnsupportedModel as error:
        raise IncompatibleBundle(f"this software does not run {name}: {error}") from error
    dialects = dialects_for(library, config.text, wanted.rounding)
    sizes = wanted.sizes
    made = Made(
        context=sizes.context,
        rows=sizes.rows,
        prefill=min(sizes.prefill, sizes.context),
        pictures=sizes.pictures,
        plugins=dialects.plugins,
        rounding=wanted.rounding,
        recurrent_layout=dialects.step.recurrent_layout,
    )
    target = Target(library.runtime, library.version, sm)
    root = builds_root(cache)
    folder = build_folder(root, bundle.manifest.digest, target, made)
    work = _Work(bundle, library, target, made, wanted, config, dialects, root, folder)
    work.sources["decoder"] = StoredGraph(bundle.path(build.decoder))
    if config.vision is not None and build.vision is not None and wanted.grids:
        work.sources["vision"] = StoredGraph(bundle.path(build.vision))
    return work


def _graphs(work: _Work, shelves: Mapping[str, Shelf]) -> list[_Graph]:
    """Every graph that is wanted, its weights on the shelves."""
    source, dialects, found = work.sources, work.dialects, []
    for dialect in (dialects.step, dialects.prefill):
        graph = decoder_graph(
            dialect, source["decoder"], shelves["decoder"], work.config.text, work.made.context
        )
        found.append(_Graph(graph.name, "decoder", graph.model()))
    if "vision" in source:
        assert work.config.vision is not None
        for grid in dict.fromkeys(work.wanted.grids):
            graph = vision_graph(
                dialects.vision, source["vision"], shelves["vision"], work.config.vision, grid
            )
            found.append(_Graph(graph.name, "vision", graph.model(), grid))
    return found


def _there(work: _Work, counted: Mapping[str, CountingShelf]) -> Build:
    """The build as it is, without what is gone or damaged; an empty one where there is none.

    Plans that take other weights than these graphs would are of another version of this software.
    """
    fresh = Build(work.folder, work.bundle.manifest.digest, work.target, work.made)
    if work.wanted.again or not (work.folder / RECORD).is_file():
        return fresh
    try:
        found = read_record(work.folder)
    except PlanRefused:
        return fresh
    if (found.digest, found.target, found.made) != (fresh.digest, fresh.target, fresh.made):
        return fresh
    for part, shelf in counted.items():
        if part in found.weights and found.weights[part].places != shelf.places:
            return fresh
    return replace(
        found,
        graphs={name: one for name, one in found.graphs.items() if is_intact(found, one)},
        weights={part: one for part, one in found.weights.items() if is_intact(found, one)},
    )


def _written(work: _Work, counted: Mapping[str, CountingShelf]) -> dict[str, WeightFile]:
    """Weights of this form that another build of the bundle has written already."""
    if work.wanted.again:
        return {}
    own = weights_folder(work.root, work.bundle.manifest.digest, work.made).resolve()
    found: dict[str, WeightFile] = {}
    for build in list_builds(work.root, work.bundle.manifest.digest):
        for part, one in build.weights.items():
            if (
                part in counted
                and part not in found
                and one.places == counted[part].places
                and build.path(one.file).resolve().parent == own
                and is_intact(build, one)
            ):
                found[part] = one
    return found


def _sweep(work: _Work) -> None:
    """Removes files that no record names any more, of plans and weights that were made again."""
    builds = list_builds(work.root, work.bundle.manifest.digest)
    named = {build.path(one.file).resolve() for build in builds for one in build.graphs.values()}
    named |= {build.path(one.file).resolve() for build in builds for one in build.weights.values()}
    own = weights_folder(work.root, work.bundle.manifest.digest, work.made)
    for path in (*work.folder.glob("*.plan"), *own.glob("*.weights")):
        if path.resolve() not in named:
            path.unlink()


def _write_weights(work: _Work, parts: Sequence[str], watcher: Watcher) -> dict[str, WeightFile]:
    """The weights of some parts, written by describing their graphs once more; others are counted."""
    found: dict[str, WeightFile] = {}
    folder = weights_folder(work.root, work.bundle.manifest.digest, work.made)
    for part in parts:
        watcher.stage(f"weights of the {part}")
        with WeightShelf(folder / f"{part}.weights") as shelf:
            _graphs(work, {**{other: CountingShelf() for other in work.sources}, part: shelf})
            digest = shelf.finish()
        found[part] = WeightFile(f"../{folder.name}/{shelf.path.name}", digest, shelf.bytes, shelf.places)
    return found


def _forecast(work: _Work, graphs: Sequence[_Graph], new_weights: int) -> Forecast:
    before = {
        name: build
        for build in list_builds(work.root, work.bundle.manifest.digest)
        if build.target.runtime == work.target.runtime and build.made.plugins == work.made.plugins
        for name in build.graphs
    }
    sizes = [_size(one) for one in graphs]
    return forecast(work.target.runtime, sizes, new_weights, before)


def _size(graph: _Graph) -> GraphToCompile:
    nodes = graph.model.graph.node
    loops = sum(node.op_type == "Scan" for node in nodes)
    return GraphToCompile(graph.name, len(nodes), loops, graph.model.ByteSize())


def _compile(work: _Work, graph: _Graph, watcher: Watcher) -> CompiledGraph:
    """One plan, in a process of its own: its memory comes back, and it may end without taking us along."""
    watcher.stage(f"compiling {graph.name}")
    shapes = shapes_of(graph.model.graph.input, work.wanted.sizes.ranges())
    with tempfile.TemporaryDirectory(prefix=".compiling-", dir=work.folder) as place:
        model, plan = (Path(place) / name for name in ("graph.onnx", "graph.plan"))
        model.write_bytes(graph.model.SerializeToString())
        timing = work.root / "timing"
        plugins = plugin_sizes(work.config.text) if has_plugins(graph.model) else None
        job = Job(work.target.runtime, work.target.sm, str(model), str(plan), str(timing), shapes, plugins)
        facts = compile_apart(job, graph.name, Path(place), watcher.step)
        # By its content: what an earlier record names stays as it is until the next record is written.
        file = f"{graph.name}-{facts['sha256'][:12]}.plan"
        plan.replace(work.folder / file)
    return CompiledGraph(
        file=file,
        sha256=facts["sha256"],
        bytes=facts["bytes"],
        inputs=facts["inputs"],
        outputs=facts["outputs"],
        shapes=shapes,
        layers=facts["layers"],
        kernels=tuple(facts["kernels"]),
        seconds=facts["seconds"],
        peak_bytes=facts["peak_bytes"],
        grid=graph.grid,
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One compilation of a bundle at a time; leftovers of one that was killed are removed."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for leftover in path.parent.glob("*/.compiling-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
