"""`python -m lineside.plugins table` and `... ptx`: what compiling gives, with no GPU."""

from __future__ import annotations

import click

from lineside.plugins.operator import Kernel
from lineside.plugins.operators import UnknownKernel, find_kernel, find_variant, kernels
from lineside.plugins.ptx import page
from lineside.plugins.ptx.compile import TARGETS, compile_ptx, default_cache
from lineside.plugins.ptx.nvrtc import CompileFailed, NvrtcMissing
from lineside.plugins.ptx.sass import AssemblyFailed, find_ptxas
from lineside.plugins.ptx.table import (
    RENEW,
    BadTable,
    Table,
    as_text,
    broken_contracts,
    broken_rules,
    compile_all,
    make,
    read_table,
    stale,
    write_table,
)

NO_ASSEMBLER = 4


@click.command(epilog="Exit codes: 0 all is well; 1 stale or a rule broken; 4 no ptxas or no NVRTC here.")
@click.option("--check", "only_check", is_flag=True, help="Change nothing: say what is stale or broken.")
@click.option("--all", "everything", is_flag=True, help="Assemble also what has not changed.")
def table(only_check: bool, everything: bool) -> None:
    """Renew the table of registers, shared memory and spills on every chip, and the page that shows it.

    Needs NVRTC (lineside[kernels]) and ptxas, which comes with CUDA's nvcc. With --check and without ptxas,
    the hashes of the sources are compared, and the PTX they compile to.
    """
    chosen = list(kernels())
    try:
        problems = _check(chosen) if only_check else _renew(chosen, everything)
    except NvrtcMissing as missing:
        click.echo(str(missing), err=True)
        raise click.exceptions.Exit(NO_ASSEMBLER) from missing
    except (CompileFailed, AssemblyFailed, BadTable, page.NoPage) as wrong:
        raise click.ClickException(str(wrong)) from wrong
    for problem in problems:
        click.echo(problem)
    if problems:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("kernel")
@click.option("--sm", "number", required=True, metavar="NN", help="The chip: 87 for Orin, 89 for RTX 40.")
@click.option("--variant", metavar="NAME", help="Which compilation; the first by default.")
def ptx(kernel: str, number: str, variant: str | None) -> None:
    """Print a kernel's PTX for one chip."""
    if f"sm_{number}" not in TARGETS:
        known = ", ".join(target.removeprefix("sm_") for target in TARGETS)
        raise click.UsageError(f"--sm {number}: one of {known}")
    try:
        found = find_kernel(kernel)
        chosen = find_variant(found, variant) if variant else found.variants[0]
        click.echo(compile_ptx(found, chosen, f"sm_{number}", default_cache()).ptx)
    except UnknownKernel as unknown:
        raise click.UsageError(str(unknown)) from unknown
    except NvrtcMissing as missing:
        click.echo(str(missing), err=True)
        raise click.exceptions.Exit(NO_ASSEMBLER) from missing
    except CompileFailed as refused:
        raise click.ClickException(str(refused)) from refused


def _renew(chosen: list[Kernel], everything: bool) -> list[str]:
    ptxas = find_ptxas()
    if ptxas is None:
        click.echo(f"no ptxas here, which comes with CUDA's nvcc: run {RENEW} where it is", err=True)
        raise click.exceptions.Exit(NO_ASSEMBLER)
    renewed = make(chosen, ptxas, default_cache(), None if everything else _known())
    # Before anything is written: a page that cannot be written leaves the table as it was.
    page.read_page()
    write_table(renewed)
    page.write_page(page.render(renewed, chosen))
    click.echo(f"{len(renewed.rows)} rows written, assembled by ptxas {renewed.assembler}")
    return broken_rules(renewed, chosen)


def _known() -> Table | None:
    """What is recorded, if it can be read: renewing is also what mends a damaged table."""
    try:
        return read_table()
    except BadTable:
        return None


def _check(chosen: list[Kernel]) -> list[str]:
    recorded = read_table()
    problems = stale(recorded, chosen) + broken_rules(recorded, chosen)
    if page.PAGE.is_file() and page.read_page() != page.render(recorded, chosen):
        problems.append(f"{page.PAGE.name} does not show the table: {RENEW}")
    if problems:
        return problems
    ptxas = find_ptxas()
    if ptxas is None:
        problems = broken_contracts(compile_all(chosen, TARGETS, default_cache()), recorded)
        click.echo(f"{len(recorded.rows)} rows are of these sources; no ptxas here to assemble them anew")
        return problems
    return _differences(recorded, make(chosen, ptxas, default_cache()))


def _differences(recorded: Table, made: Table) -> list[str]:
    if as_text(recorded) == as_text(made):
        click.echo(f"{len(made.rows)} rows, assembled anew: all as recorded")
        return []
    if recorded.assembler != made.assembler:
        return [f"made by ptxas {recorded.assembler}, here is {made.assembler}: {RENEW}"]
    known = {row.key: row for row in recorded.rows}
    return [
        f"{' '.join(row.key)}: not as recorded: {RENEW}" for row in made.rows if known.get(row.key) != row
    ]
