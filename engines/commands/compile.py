"""`lineside engine compile`: from an engine bundle to TensorRT plans for one chip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from lineside.engines.commands.rim import BUNDLE, JSON, TRUST, as_json_text, plain_errors, policy
from lineside.engines.errors import EngineError
from lineside.engines.memory import size_text
from lineside.engines.tensorrt.compile import Wanted, Watcher, compile_bundle
from lineside.engines.tensorrt.forecast import Forecast
from lineside.engines.tensorrt.library import RUNTIMES, Runtime

if TYPE_CHECKING:
    from lineside.engines.bundle import Bundle
    from lineside.engines.tensorrt.plans import Build

_CHIP = re.compile(r"(?:sm_?)?(\d{2,3})", re.IGNORECASE)
_SIZE = re.compile(r"(\d+)[x×](\d+)")
_USUAL_IMAGE = "640x480"


@click.command("compile")
@BUNDLE
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    default="tensorrt",
    show_default=True,
    help="Which library compiles and runs the plans.",
)
@click.option("--sm", help="The chip as its compute capability, 87 for 8.7; this machine's by default.")
@click.option(
    "--image",
    "images",
    multiple=True,
    help=f"WIDTHxHEIGHT of the pictures to come; {_USUAL_IMAGE} by default. May come several times.",
)
@click.option("--context-tokens", type=click.IntRange(1), help="Room for prompt, pictures and answer.")
@click.option(
    "--rows", type=click.IntRange(1, 64), default=8, show_default=True, help="Answers weighed at a time."
)
@click.option(
    "--weights",
    "rounding",
    type=click.Choice(["stored", "fp8", "nvfp4"]),
    default="stored",
    show_default=True,
    help="As the bundle stores them, or rounded to what newer chips have.",
)
@click.option("--again", is_flag=True, help="Compile also what is there already.")
@click.option("--forecast", "only_forecast", is_flag=True, help="Only say what it would take.")
@TRUST
@JSON
def compile_(
    bundle: Path,
    runtime: Runtime,
    sm: str | None,
    images: tuple[str, ...],
    context_tokens: int | None,
    rows: int,
    rounding: Any,
    again: bool,
    only_forecast: bool,
    trust: Path | None,
    as_json: bool,
) -> None:
    """Compile a bundle's graphs to plans for one chip.

    The bundle stays as it is; plans lie in the cache by its digest. What was compiled before is kept: another
    --image adds one plan.
    """
    from lineside.engines.bundle import open_bundle
    from lineside.engines.open import DEFAULT_CONTEXT, default_cache
    from lineside.engines.tensorrt.library import load
    from lineside.engines.tensorrt.profiles import Sizes

    with plain_errors():
        library = load(runtime)  # first: it is what is missing most often
        chip = _chip(sm)
        cache = default_cache()
        opened = open_bundle(bundle, cache, policy(trust).admit)
        context = context_tokens or min(opened.manifest.context_tokens, DEFAULT_CONTEXT)
        if context > opened.manifest.context_tokens:
            raise BadSize(
                f"{opened.manifest.name} takes a context of up to {opened.manifest.context_tokens} "
                f"tokens, {context} "
                "were asked for"
            )
        grids = _grids(opened, images)
        wanted = Wanted(Sizes(context, rows), grids, rounding, again)
        with _watched(shown=not as_json, only=only_forecast) as watcher:
            try:
                build = compile_bundle(opened, library, chip, wanted, cache, watcher)
            except _Enough:
                if as_json:
                    click.echo(as_json_text(_forecast_fields(watcher.said)))
                return
    if as_json:
        click.echo(as_json_text({**_fields(build), "forecast": _forecast_fields(watcher.said)}))
    else:
        click.echo("\n".join(_lines(build)))


class BadSize(EngineError):
    """A picture size or a context that the engine does not take."""


class _Enough(Exception):
    """The forecast was all that was asked for."""


class _Watched(Watcher):
    """A compilation's forecast as lines, its progress as a bar where there is a terminal."""

    def __init__(self, bar: Bar, console: Console, *, shown: bool, only: bool) -> None:
        self.said: Forecast | None = None
        self._bar = bar
        self._console = console
        self._shown = shown
        self._only = only
        self._task: TaskID | None = None

    def forecast(self, said: Forecast) -> None:
        """Said before anything is begun."""
        self.said = said
        if self._shown:
            for line in said.lines():
                self._console.print(line, highlight=False)
        if self._only:
            raise _Enough

    def stage(self, name: str) -> None:
        """A new bar; without an end until the first step says one."""
        if self._task is not None:
            self._bar.update(self._task, visible=False)
        self._task = self._bar.add_task(name, total=None)

    def step(self, done: int, of: int) -> None:
        """Moves the bar."""
        if self._task is not None and of:
            self._bar.update(self._task, completed=done, total=of)


@contextmanager
def _watched(*, shown: bool, only: bool) -> Iterator[_Watched]:
    console = Console(stderr=True, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, disable=not (shown and console.is_terminal)) as bar:
        yield _Watched(bar, console, shown=shown, only=only)


def _chip(named: str | None) -> int:
    from lineside.engines.tensorrt.chip import chip_here

    if named is not None:
        found = _CHIP.fullmatch(named.replace(".", ""))
        if found is None:
            raise click.BadParameter(
                f"{named!r} is no chip: write 87 for compute capability 8.7", param_hint="--sm"
            )
        return int(found[1])
    here = chip_here()
    if here is None:
        raise BadSize(
            "this machine has no GPU that the driver knows of: name the chip to compile for with "
            "--sm (86 for RTX "
            "30, 87 for Jetson Orin, 89 for RTX 40, 110 for Jetson Thor, 120 for RTX 50)"
        )
    return here


def _grids(bundle: Bundle, images: tuple[str, ...]) -> list[tuple[int, int]]:
    """The grids of patches of pictures of these sizes, as preprocessing will make them."""
    from lineside.engines.pixels import picture_size, read_numbers

    manifest = bundle.manifest
    if manifest.onnx is None or manifest.onnx.vision is None:
        if images:
            raise BadSize(f"{manifest.name} has no vision tower: leave --image out")
        return []
    numbers = read_numbers(bundle.json("preprocessor_config.json"))
    grids: list[tuple[int, int]] = []
    for image in images or (_USUAL_IMAGE,):
        found = _SIZE.fullmatch(image)
        if found is None:
            raise click.BadParameter(f"{image!r} is no size: write WIDTHxHEIGHT", param_hint="--image")
        height, width = picture_size(int(found[2]), int(found[1]), numbers)
        grids.append((height // numbers.patch, width // numbers.patch))
    return grids


def _forecast_fields(said: Forecast | None) -> dict[str, Any] | None:
    if said is None:
        return None
    return {
        "memory_bytes": said.peak_bytes,
        "disk_bytes": said.disk_bytes,
        "weights_bytes": said.weights_bytes,
        "seconds": said.seconds,
        "measured": said.measured,
    }


def _fields(build: Build) -> dict[str, Any]:
    return {
        "folder": str(build.folder),
        "digest": build.digest,
        "runtime": build.target.runtime,
        "version": build.target.version,
        "sm": build.target.sm,
        "context_tokens": build.made.context,
        "plugins": build.made.plugins,
        "weights": {part: one.bytes for part, one in build.weights.items()},
        "plans": {
            name: {
                "bytes": one.bytes,
                "seconds": one.seconds,
                "peak_bytes": one.peak_bytes,
                "layers": sum(one.layers.values()),
            }
            for name, one in build.graphs.items()
        },
    }


def _lines(build: Build) -> list[str]:
    rows = [
        f"  {name}: {size_text(one.bytes)}, compiled in {one.seconds:.1f} s with "
        f"{size_text(one.peak_bytes)} of memory"
        for name, one in sorted(build.graphs.items())
    ]
    weights = sum(one.bytes for one in build.weights.values())
    return [
        f"{build.folder}",
        f"  for {build.target}, context {build.made.context}, weights {size_text(weights)}",
        *rows,
    ]
