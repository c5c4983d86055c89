"""What every kernel spends on every chip, kept in `table.json`: made where `ptxas` is, checked everywhere.

A row carries the hash of the sources and of the PTX it was made from. So a machine without the assembler
still knows whether the recorded numbers are those of the kernels it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lineside.plugins.operator import SHARED_MEMORY_LIMIT, Integers, Kernel, Variant
from lineside.plugins.ptx.compile import NEWEST_PTX, TARGETS, Compiled, compile_ptx
from lineside.plugins.ptx.entry import faults
from lineside.plugins.ptx.sass import Usage, assemble, release
from lineside.plugins.ptx.sources import sources_hash

RECORDED = Path(__file__).with_name("table.json")
RENEW = "python -m lineside.plugins table"
THREADS = 2


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant of one kernel on one target."""

    kernel: str
    variant: str
    target: str
    sources: str
    """Hash of what it was compiled from."""
    ptx: str
    """Hash of the PTX the numbers belong to."""
    dynamic_shared: int
    """Most bytes a launch asks for at the kernel's sizes, on top of the static ones."""
    usage: Usage

    @property
    def key(self) -> tuple[str, str, str]:
        """What names a row."""
        return (self.kernel, self.variant, self.target)


@dataclass(frozen=True, kw_only=True)
class Table:
    """All rows, and the assembler's version that made them."""

    assembler: str
    rows: tuple[Row, ...]


class BadTable(Exception):
    """`table.json` cannot be read."""


def compile_all(kernels: Iterable[Kernel], targets: Iterable[str], cache: Path | None) -> Iterator[Compiled]:
    """PTX of every variant for every target, two at a time. Raises CompileFailed, NvrtcMissing."""
    work = [
        (kernel, variant, target) for kernel in kernels for variant in kernel.variants for target in targets
    ]
    with ThreadPoolExecutor(THREADS, "lineside-nvrtc") as pool:
        yield from pool.map(lambda one: compile_ptx(one[0], one[1], one[2], cache), work)


def make(kernels: Iterable[Kernel], ptxas: Path, cache: Path | None, known: Table | None = None) -> Table:
    """The table of `kernels` for every target. Raises also AssemblyFailed.

    Variants whose rows in `known` are of the same sources and the same assembler are taken from it.
    """
    kernels = list(kernels)
    reusable = _reusable(kernels, known) if known and known.assembler == release(ptxas) else {}
    waiting = [
        replace(kernel, variants=tuple(v for v in kernel.variants if (kernel.name, v.name) not in reusable))
        for kernel in kernels
    ]

    def row(compiled: Compiled) -> Row:
        return Row(
            kernel=compiled.kernel.name,
            variant=compiled.variant.name,
            target=compiled.target,
            sources=sources_hash(compiled.kernel, compiled.variant),
            ptx=compiled.digest,
            dynamic_shared=dynamic_shared(compiled.kernel, compiled.variant),
            usage=assemble(ptxas, compiled),
        )

    with ThreadPoolExecutor(THREADS, "lineside-ptxas") as pool:
        made = list(pool.map(row, compile_all(waiting, TARGETS, cache)))
    by_key = {one.key: one for one in [*made, *(one for rows in reusable.values() for one in rows)]}
    order = [
        (kernel.name, variant.name, target)
        for kernel in kernels
        for variant in kernel.variants
        for target in TARGETS
    ]
    return Table(assembler=release(ptxas), rows=tuple(by_key[key] for key in order))


def _reusable(kernels: Iterable[Kernel], known: Table) -> dict[tuple[str, str], list[Row]]:
    """Rows of `known` that are still true, by kernel and variant."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for row in known.rows:
        rows.setdefault((row.kernel, row.variant), []).append(row)
    found = {}
    for kernel in kernels:
        for variant in kernel.variants:
            have = rows.get((kernel.name, variant.name), [])
            now = (sources_hash(kernel, variant), dynamic_shared(kernel, variant))
            fresh = all((row.sources, row.dynamic_shared) == now for row in have)
            if fresh and {row.target for row in have} == set(TARGETS):
                found[kernel.name, variant.name] = have
    return found


def dynamic_shared(kernel: Kernel, variant: Variant) -> int:
    """Most dynamic shared memory, in bytes, that a launch asks for at the sizes the check times.

    Raises ValueError where it hangs on a size that only drawn tensors would tell.
    """
    asked = set()
    for other in (1, 97):
        sizes = (_Assumed(sizes, other) for sizes in kernel.sizes)
        asked.add(max((_shared_bytes(kernel, one, variant) for one in sizes), default=0))
    if len(asked) > 1:
        raise ValueError(f"{kernel.name}: its shared memory hangs on a size that `sizes` does not name")
    return asked.pop()


class _Assumed(dict[str, int]):
    """Sizes by name, and one number for all others: tensors have dimensions that `sizes` leaves out."""

    def __init__(self, sizes: Mapping[str, int], other: int) -> None:
        super().__init__(sizes)
        self._other = other

    def __missing__(self, name: str) -> int:
        return self._other


def _shared_bytes(kernel: Kernel, sizes: Mapping[str, int], variant: Variant) -> int:
    return int(kernel.launch(sizes, Integers(), variant).shared_bytes)


def stale(table: Table, kernels: Iterable[Kernel]) -> list[str]:
    """Why the recorded rows are not those of `kernels`: missing, left over, or of other sources."""
    wanted = {
        (kernel.name, variant.name, target): (
            sources_hash(kernel, variant),
            dynamic_shared(kernel, variant),
        )
        for kernel in kernels
        for variant in kernel.variants
        for target in TARGETS
    }
    recorded = {row.key: (row.sources, row.dynamic_shared) for row in table.rows}
    found = [f"{_named(key)}: not in the table" for key in wanted if key not in recorded]
    found += [f"{_named(key)}: in the table, but there is no such kernel" for key in recorded.keys() - wanted]
    found += [
        f"{_named(key)}: changed since the table was made"
        for key, have in wanted.items()
        if key in recorded and recorded[key] != have
    ]
    return sorted(found)


def broken_rules(table: Table, kernels: Iterable[Kernel]) -> list[str]:
    """Which rows break the rules: no spills in decode kernels, at most 48 KiB of shared memory."""
    decode = {kernel.name for kernel in kernels if kernel.decode}
    found = []
    for row in table.rows:
        spilt = row.usage.spill_stores + row.usage.spill_loads
        if row.kernel in decode and spilt:
            found.append(f"{_named(row.key)}: a decode kernel that spills {spilt} bytes of registers")
        shared = row.usage.shared + row.dynamic_shared
        if shared > SHARED_MEMORY_LIMIT:
            found.append(f"{_named(row.key)}: {shared} bytes of shared memory, over {SHARED_MEMORY_LIMIT}")
    return found


def broken_contracts(compiled: Iterable[Compiled], table: Table | None = None) -> list[str]:
    """What of the PTX is not what TensorRT will launch, or (with `table`) not what the table is of."""
    recorded = {row.key: row for row in table.rows} if table else {}
    found = []
    for one in compiled:
        key = (one.kernel.name, one.variant.name, one.target)
        found += [f"{_named(key)}: {why}" for why in faults(one.kernel, one.target, one.ptx, NEWEST_PTX)]
        if key in recorded and recorded[key].ptx != one.digest:
            found.append(f"{_named(key)}: compiles to other PTX than the table was made from")
    return found


def read_table(path: Path | None = None) -> Table:
    """The table in `path`, the recorded one by default. Raises BadTable."""
    path = path or RECORDED
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(
            Row(
                kernel=kernel,
                variant=variant,
                target=target,
                sources=about["sources"],
                dynamic_shared=about["dynamic_shared"],
                ptx=numbers.pop("ptx"),
                usage=Usage(**numbers),
            )
            for kernel, variants in whole["kernels"].items()
            for variant, about in variants.items()
            for target, numbers in about["targets"].items()
        )
        return Table(assembler=whole["assembler"], rows=rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise BadTable(f"{path.name} cannot be read ({wrong!r}); make it anew: {RENEW}") from wrong


def write_table(table: Table, path: Path | None = None) -> None:
    """Keeps `table`, one line a target so that a change reads well in a diff."""
    (path or RECORDED).write_text(as_text(table), encoding="utf-8")


def as_text(table: Table) -> str:
    """The table as JSON."""
    kernels: dict[str, dict[str, dict[str, Any]]] = {}
    for row in table.rows:
        about = kernels.setdefault(row.kernel, {}).setdefault(
            row.variant, {"sources": row.sources, "dynamic_shared": row.dynamic_shared, "targets": {}}
        )
        about["targets"][row.target] = {"ptx": row.ptx, **asdict(row.usage)}
    return _json({"assembler": table.assembler, "kernels": kernels}, "") + "\n"


def _json(value: Any, indent: str) -> str:
    if not isinstance(value, Mapping) or "ptx" in value:
        return json.dumps(value)
    inner = indent + "  "
    lines = [f"{inner}{json.dumps(name)}: {_json(item, inner)}" for name, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}" if lines else "{}"


def _named(key: tuple[str, str, str]) -> str:
    return f"{key[0]} ({key[1]}) on {key[2]}"
