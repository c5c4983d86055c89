"""What the demonstration prints: a line a verdict as it falls, and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

MARKS = {"OK": ("●", "OK", "green"), "NOT_OK": ("■", "NG", "red"), "NOT_DECIDABLE": ("▲", "Review", "yellow")}


def verdict_line(record: Mapping[str, object]) -> Text:
    """One verdict: part, verdict, what was found, how sure, how long it took."""
    shape, word, colour = MARKS[str(record["verdict"])]
    line = Text()
    line.append(f"{record['part_id']:<28} ")
    line.append(f"{shape} {word:<7}", style=f"bold {colour}")
    line.append(f"{_what(record):<44} ")
    confidence = _confidence(record)
    line.append(f"{confidence:6.1%} " if confidence is not None else "     – ")
    timings = record.get("timings_ms")
    total = timings.get("camera_to_verdict") if isinstance(timings, Mapping) else None
    line.append(f"{float(total):7.1f} ms" if total is not None else "")
    return line


def _entries(record: Mapping[str, object], key: str) -> Sequence[Mapping[str, object]]:
    value = record.get(key)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else []


def _what(record: Mapping[str, object]) -> str:
    if record["verdict"] == "OK":
        return " · ".join(f"{one['ask']} {one['value']}" for one in _entries(record, "outcomes"))[:44]
    reasons = _entries(record, "reasons")
    return " · ".join(str(reason["message"]) for reason in reasons)[:44]


def _confidence(record: Mapping[str, object]) -> float | None:
    values = [float(str(one["confidence"])) for one in _entries(record, "outcomes")]
    return min(values, default=None)


def show_summary(console: Console, summary: Mapping[str, object]) -> None:
    """The summary as a table for people."""
    table = Table(title="Against the truth the line was drawn with", title_justify="left", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for key, value in summary.items():
        if isinstance(value, Mapping):
            shown = " · ".join(f"{name} {number}" for name, number in value.items())
        else:
            shown = "–" if value is None else str(value)
        table.add_row(key.replace("_", " "), shown)
    console.print(table)
