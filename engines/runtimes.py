"""Which runtimes there are, which of them a bundle can be opened on, and how each loads its graphs.

`auto` takes compiled plans where the bundle has them and this machine can run them, and ONNX Runtime on the
processor otherwise; what is not used says why in the log. Whoever opens an engine need not know more than a
name. Knows bundles; does not know sessions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lineside.engines.answering.runtime import Loaded
from lineside.engines.bundle import Bundle
from lineside.engines.config import ModelConfig
from lineside.engines.errors import IncompatibleBundle, RuntimeMissing
from lineside.engines.memory import free_bytes, memory_need
from lineside.engines.onnxruntime.graphs import DecoderGraph, VisionGraph
from lineside.engines.onnxruntime.providers import CPU, CUDA, RTX, open_session
from lineside.engines.tensorrt.library import RUNTIMES as COMPILED
from lineside.engines.tensorrt.library import Runtime as Compiled
from lineside.engines.tensorrt.opening import has_builds, open_build

AUTO = "auto"
RUNTIMES = (CPU, CUDA, RTX, *COMPILED)
TINY_BYTES = 32 << 20
_LOG = logging.getLogger("lineside.engines")

Load = Callable[[Bundle, ModelConfig, int, int | None], Loaded]
"""(bundle, its configuration, tokens of context, threads) → what answering needs."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """One way to run a bundle. `on_host`: weights and states lie in the machine's own memory."""

    name: str
    load: Load
    on_host: bool = True

    def check_room(self, bundle: Bundle, context: int) -> int:
        """Bytes that weights and states take on the host; 0 where they lie elsewhere.

        Raises:
            NotEnoughMemory: there is not so much.
        """
        if not self.on_host:
            return 0
        need = memory_need(bundle)
        need.check(bundle.manifest.name, context, free_bytes())
        return need.total(context)


def candidates(bundle: Bundle, wanted: str, cache: Path) -> tuple[Runtime, ...]:
    """The runtimes to try, the best first. `cache`: where plans lie that were compiled for this machine.

    Raises:
        IncompatibleBundle: an unknown name.
    """
    if wanted == AUTO:
        plans = [name for name in COMPILED if has_builds(bundle, name, cache)]
        return tuple(_runtime(name, cache) for name in (*plans, CPU))
    if wanted not in RUNTIMES:
        raise IncompatibleBundle(
            f"the runtime {wanted!r} is not part of this software: choose {AUTO}, {', '.join(RUNTIMES[:-1])} "
            f"or {RUNTIMES[-1]}"
        )
    return (_runtime(wanted, cache),)


Given = TypeVar("Given")


def first_that_runs(choices: Sequence[Runtime], attempt: Callable[[Runtime], Given]) -> Given:
    """What `attempt` gives for the first runtime that this machine has; the log says why not for others.

    Raises:
        RuntimeMissing: it has none of them.
    """
    *others, last = choices
    for choice in others:
        try:
            return attempt(choice)
        except RuntimeMissing as error:
            _LOG.warning("%s is not used: %s", choice.name, error)
    return attempt(last)


def _runtime(name: str, cache: Path) -> Runtime:
    for compiled in COMPILED:
        if name == compiled:
            return _plans_runtime(compiled, cache)

    def load(bundle: Bundle, config: ModelConfig, _context: int, threads: int | None) -> Loaded:
        return _load_graphs(bundle, config, name, threads)

    return Runtime(name, load)


def _load_graphs(bundle: Bundle, config: ModelConfig, runtime: str, threads: int | None) -> Loaded:
    build = bundle.manifest.onnx
    if build is None:
        raise RuntimeMissing(
            f"{bundle.manifest.name} has builds for {', '.join(bundle.manifest.runtimes)} only and none for "
            "onnx: build the engine again with `lineside engine build`"
        )
    if build.dialect != "onnxruntime":
        raise RuntimeMissing(
            f"the graphs of {bundle.manifest.name} are in the {build.dialect} dialect, which is for reading "
            "and comparing: build the engine again in the onnxruntime dialect"
        )
    threads = threads or _threads(bundle.path(build.decoder).parent)
    decoder = DecoderGraph(open_session(bundle.path(build.decoder), runtime, threads))
    vision = None
    if config.vision is not None and build.vision is not None:
        vision = VisionGraph(open_session(bundle.path(build.vision), runtime, threads), config.vision)
    return Loaded(decoder, vision, lambda: None, threads=threads or 0)


def _plans_runtime(name: Compiled, cache: Path) -> Runtime:
    def load(bundle: Bundle, config: ModelConfig, context: int, _threads: int | None) -> Loaded:
        return open_build(bundle, config, context, name, cache)

    return Runtime(name, load, on_host=False)


def _threads(graphs: Path) -> int | None:
    """One for a tiny engine, whose calls are over before a second thread has woken (docs/performance.md)."""
    size = sum(path.stat().st_size for path in graphs.iterdir() if path.is_file())
    return 1 if size < TINY_BYTES else None
