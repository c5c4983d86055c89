"""Results as files: CSV and Parquet, written while they are read, so that a million rows need no memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from lineside.dashboard.reading.trace import Found

NAMES = tuple(f.name for f in fields(Found) if f.name != "row")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for a formula at the beginning of a cell."""


class NoParquet(Exception):
    """pyarrow is not installed."""


def as_csv(batches: Iterable[list[Found]]) -> Iterator[str]:
    """Lines of CSV, times in UTC. A cell that a spreadsheet would run gets an apostrophe before it."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(NAMES)
    for batch in batches:
        for one in batch:
            told = asdict(one)
            writer.writerow([cell(told[name]) for name in NAMES])
        yield _taken(written)
    yield _taken(written)


def cell(value: Any) -> Any:
    """A value as CSV takes it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def parquet() -> Callable[[Iterable[list[Found]]], Iterator[bytes]]:
    """The writer of Parquet.

    Raises:
        NoParquet: pyarrow is not installed.
    """
    try:
        pyarrow: Any = import_module("pyarrow")
        pyarrow_parquet: Any = import_module("pyarrow.parquet")
    except ImportError:
        raise NoParquet from None

    kinds = {
        "sequence": pyarrow.int64(),
        "recipe_version": pyarrow.int64(),
        "confidence": pyarrow.float64(),
        "total_ms": pyarrow.float64(),
        "decided_at": pyarrow.timestamp("us", tz="UTC"),
        "received_at": pyarrow.timestamp("us", tz="UTC"),
        "is_simulated": pyarrow.bool_(),
        "clock_synchronised": pyarrow.bool_(),
        "chained": pyarrow.bool_(),
    }
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in NAMES])

    def write(batches: Iterable[list[Found]]) -> Iterator[bytes]:
        sink = _Sink()
        with pyarrow_parquet.ParquetWriter(pyarrow.PythonFile(sink, mode="w"), schema) as writer:
            for batch in batches:
                rows = [asdict(one) for one in batch]
                columns = {name: [row[name] for row in rows] for name in NAMES}
                writer.write_table(pyarrow.table(columns, schema=schema))
                yield sink.take()
        yield sink.take()

    return write


class _Sink:
    """A file that gives out what was written to it since the last look."""

    closed = False

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was written stays to be taken."""

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


def _taken(written: io.StringIO) -> str:
    told = written.getvalue()
    written.seek(0)
    written.truncate()
    return told
