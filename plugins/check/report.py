"""The check's findings as people read them and as programs do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lineside.plugins.check.run import Bench, Row

_WIDTHS = (27, 17, 34, 20, 11, 11, 8, 10)
HEADER = ("kernel", "variant", "case", "error (allowed)", "time", "floor", "of it", "TFLOP/s")


def bench_lines(bench: Bench, tensorrt: str | None) -> list[str]:
    """The device as found; `tensorrt`: its version, or None where it is not installed."""
    facts = bench.facts
    stated = ""
    if facts.stated_bytes_s:
        share = bench.bytes_s / facts.stated_bytes_s
        stated = f"; {facts.stated_bytes_s / 1e9:.0f} GB/s by clock and bus width ({share:.0%})"
    return [
        f"GPU: {facts.name}, compute capability {facts.capability[0]}.{facts.capability[1]} "
        f"(kernels for {facts.target}), {facts.multiprocessors} multiprocessors, "
        f"{facts.memory / 2**30:.1f} GiB, driver for CUDA {facts.cuda[0]}.{facts.cuda[1]}",
        f"bandwidth: {bench.bytes_s / 1e9:.0f} GB/s measured by copying{stated}",
        f"TensorRT: {tensorrt or 'not installed; the kernels are checked without it'}",
        "",
        table_line(HEADER),
    ]


def table_line(cells: Sequence[str]) -> str:
    """One line of the table: words to the left, numbers to the right."""
    words = [cell.ljust(width) for cell, width in zip(cells[:3], _WIDTHS[:3], strict=False)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[3:], _WIDTHS[3:], strict=False)]
    return " ".join([*words, *numbers]).rstrip()


def row_lines(row: Row) -> list[str]:
    """One row, and below it what was wrong."""
    speed = row.speed
    cells = [row.kernel, row.variant, row.case, _error(row)]
    if speed is not None:
        cells += [_time(speed.seconds), _time(speed.floor), f"{speed.fraction:.0%}"]
        cells += [f"{speed.flops_s / 1e12:.2f}"]
    else:
        cells += [""] * 4
    note = "  from cache" if speed is not None and speed.cached else ""
    verdict = "  ok" if row.passed else "  WRONG"
    return [table_line(cells) + verdict + note, *(f"    {problem}" for problem in row.problems)]


def summary(rows: Sequence[Row]) -> str:
    """How it went, in a sentence."""
    wrong = [row for row in rows if not row.passed]
    compared = sum(row.error is not None for row in rows)
    timed = sum(row.speed is not None for row in rows)
    counts = f"{len(rows)} cases: {compared} compared with the reference, {timed} timed"
    if not wrong:
        return f"{counts}; all are right"
    return f"{counts}; {len(wrong)} WRONG, of {', '.join(dict.fromkeys(row.kernel for row in wrong))}"


def as_object(bench: Bench, rows: Sequence[Row], tensorrt: str | None) -> dict[str, Any]:
    """All of it for `--json`; seconds, bytes a second."""
    facts = bench.facts
    return {
        "settled": True,
        "passed": all(row.passed for row in rows),
        "device": {
            "name": facts.name,
            "capability": f"{facts.capability[0]}.{facts.capability[1]}",
            "target": facts.target,
            "cuda": f"{facts.cuda[0]}.{facts.cuda[1]}",
            "multiprocessors": facts.multiprocessors,
            "memory_bytes": facts.memory,
            "cache_bytes": facts.cache,
            "stated_bytes_s": facts.stated_bytes_s,
            "measured_bytes_s": bench.bytes_s,
        },
        "tensorrt": tensorrt,
        "rows": [_row(row) for row in rows],
    }


def _row(row: Row) -> dict[str, Any]:
    speed = row.speed
    # JSON has no infinity: an error without a number is told by its problems.
    error = row.error if row.error is not None and row.error != float("inf") else None
    return {
        "kernel": row.kernel,
        "variant": row.variant,
        "case": row.case,
        "passed": row.passed,
        "problems": list(row.problems),
        "compared": row.error is not None,
        "error": error,
        "tolerance": row.tolerance,
        "registers": row.registers,
        "local_bytes": row.local,
        "seconds": speed.seconds if speed else None,
        "floor_seconds": speed.floor if speed else None,
        "fraction_of_floor": speed.fraction if speed else None,
        "flops_s": speed.flops_s if speed else None,
        "from_cache": speed.cached if speed else None,
    }


def _error(row: Row) -> str:
    if row.error is None:
        return "" if row.problems else "timed only"
    allowed = f" ({row.tolerance:.0e})" if row.tolerance is not None else ""
    return f"{row.error:.1e}{allowed}"


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.2f} ms"
