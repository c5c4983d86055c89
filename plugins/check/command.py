"""`python -m lineside.plugins check`: settle on a GPU that the kernels are right, and how fast."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import click

from lineside.plugins.check import report
from lineside.plugins.check.device import DeviceFault, NoDevice
from lineside.plugins.check.driver import open_driver
from lineside.plugins.check.run import Checker, Row
from lineside.plugins.operator import Kernel
from lineside.plugins.operators import UnknownKernel, find_kernel, kernels
from lineside.plugins.ptx.compile import TARGETS, default_cache
from lineside.plugins.ptx.nvrtc import CompileFailed, NvrtcMissing
from lineside.plugins.ptx.table import broken_contracts, compile_all

WRONG, NO_GPU, NO_COMPILER = 1, 3, 4


@click.command(
    epilog="Exit codes: 0 every kernel is right; 1 one is wrong; 3 no GPU to settle it on (all was compiled);"
    " 4 nothing to compile with."
)
@click.option("--json", "as_json", is_flag=True, help="For machines: one object at the end.")
@click.option("--kernel", "names", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--device", "ordinal", type=click.IntRange(0), default=0, show_default=True, help="Which GPU.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the inputs' numbers.")
@click.option("--no-times", is_flag=True, help="Compare only: a GPU that others use gives no honest times.")
def check(as_json: bool, names: tuple[str, ...], ordinal: int, seed: int, no_times: bool) -> None:
    """Run every kernel on this machine's GPU, beside its reference and the speed that memory allows.

    Needs a driver and the package lineside[kernels]; neither a CUDA toolkit nor TensorRT. Without a GPU it
    compiles every kernel for every chip, checks what TensorRT will be handed, and says that this is all.
    """
    chosen = choose(names)
    cache = default_cache()
    opened = partial(open_driver, ordinal)
    try:
        checker = Checker(opened, seed=seed, cache=cache, timed=not no_times)
    except NoDevice as missing:
        _to_the_edge(chosen, cache, str(missing), as_json)
    except DeviceFault as fault:
        raise click.ClickException(f"the GPU cannot be opened: {fault}") from fault
    else:
        _on_device(checker, chosen, as_json)


def choose(names: tuple[str, ...]) -> list[Kernel]:
    """The kernels of these names, all where there are none. Raises UsageError for an unknown one."""
    try:
        return [find_kernel(name) for name in names] or list(kernels())
    except UnknownKernel as unknown:
        raise click.UsageError(str(unknown)) from unknown


def tensorrt_version() -> str | None:
    """TensorRT's version where it is installed; it is not loaded."""
    if importlib.util.find_spec("tensorrt") is None:
        return None
    try:
        return metadata.version("tensorrt")
    except metadata.PackageNotFoundError:
        return "installed"


def _on_device(checker: Checker, chosen: list[Kernel], as_json: bool) -> None:
    rows: list[Row] = []
    tensorrt = tensorrt_version()
    try:
        bench = checker.bench()
        if not as_json:
            click.echo("\n".join(report.bench_lines(bench, tensorrt)))
        for row in checker.rows(chosen, bench):
            rows.append(row)
            if not as_json:
                click.echo("\n".join(report.row_lines(row)))
    except NvrtcMissing as missing:
        _nothing_to_compile_with(missing, as_json)
    except (CompileFailed, DeviceFault, NoDevice) as wrong:
        raise click.ClickException(str(wrong)) from wrong
    finally:
        checker.close()
    if as_json:
        click.echo(json.dumps(report.as_object(bench, rows, tensorrt), indent=2))
    else:
        click.echo(f"\n{report.summary(rows)}")
    if not all(row.passed for row in rows):
        raise click.exceptions.Exit(WRONG)


def _to_the_edge(chosen: list[Kernel], cache: Path, missing: str, as_json: bool) -> None:
    """What can be done without a GPU: all PTX for all chips, held against the contract."""
    count = sum(len(kernel.variants) for kernel in chosen) * len(TARGETS)
    try:
        problems = broken_contracts(compile_all(chosen, TARGETS, cache))
    except NvrtcMissing as nothing:
        _nothing_to_compile_with(nothing, as_json)
    except CompileFailed as refused:
        problems = [str(refused)]
    if as_json:
        found = {"settled": False, "why": missing, "compiled": count, "problems": problems}
        click.echo(json.dumps(found, indent=2))
    else:
        for problem in problems:
            click.echo(problem)
        if not problems:
            click.echo(f"compiled {count} times ({', '.join(TARGETS)}): each takes what TensorRT will pass")
        click.echo(
            f"Not settled: {missing}. Whether the kernels are right on a GPU is known only on one.",
            err=True,
        )
    raise click.exceptions.Exit(WRONG if problems else NO_GPU)


def _nothing_to_compile_with(missing: NvrtcMissing, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(
            json.dumps({"settled": False, "why": str(missing), "compiled": 0, "problems": []}, indent=2)
        )
    else:
        click.echo(str(missing), err=True)
    raise click.exceptions.Exit(NO_COMPILER)
