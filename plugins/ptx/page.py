"""The table as people read it: the part of `docs/kernels.md` between two marks, written from `table.json`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lineside.plugins.operator import Kernel
from lineside.plugins.ptx.compile import TARGETS
from lineside.plugins.ptx.table import Row, Table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "kernels.md"
"""Only in a checkout; an installed package has no docs."""
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


class NoPage(Exception):
    """The page is not there, or has lost the marks."""


def render(table: Table, kernels: Iterable[Kernel]) -> str:
    """A Markdown table: a row a variant, registers a thread on each target, spilt bytes after a plus."""
    decode = {kernel.name for kernel in kernels if kernel.decode}
    variants: dict[tuple[str, str], dict[str, Row]] = {}
    for row in table.rows:
        variants.setdefault((row.kernel, row.variant), {})[row.target] = row
    lines = [
        f"| kernel | variant | runs | shared memory | {' | '.join(TARGETS)} |",
        f"| --- | --- | --- | --- | {' | '.join('---' for _ in TARGETS)} |",
    ]
    for (kernel, variant), rows in variants.items():
        runs = "each token" if kernel in decode else "many tokens"
        numbers = " | ".join(_registers(rows[target]) if target in rows else "–" for target in TARGETS)
        lines.append(f"| `{kernel}` | {variant} | {runs} | {_shared(rows.values())} | {numbers} |")
    return "\n".join([f"Assembled by ptxas {table.assembler}.", "", *lines])


def read_page(path: Path | None = None) -> str:
    """What stands between the marks now. Raises NoPage."""
    return _parts(path or PAGE)[1].strip()


def write_page(text: str, path: Path | None = None) -> None:
    """Puts `text` between the marks. Raises NoPage."""
    path = path or PAGE
    before, _, after = _parts(path)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _parts(path: Path) -> tuple[str, str, str]:
    if not path.is_file():
        raise NoPage(f"{path} is not there: the table is renewed in a checkout, not in an installed package")
    before, begun, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    inside, ended, after = rest.partition(END)
    if not begun or not ended:
        raise NoPage(f"{path} has no lines {BEGIN} and {END}: put them where the table shall stand")
    return before, inside, after


def _registers(row: Row) -> str:
    spilt = row.usage.spill_stores + row.usage.spill_loads
    return f"{row.usage.registers}+{spilt} B" if spilt else str(row.usage.registers)


def _shared(rows: Iterable[Row]) -> str:
    """Bytes a block: the most of all targets."""
    most = max(row.usage.shared + row.dynamic_shared for row in rows)
    return f"{most / 1024:.1f} KiB" if most else "none"
