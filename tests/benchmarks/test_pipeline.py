"""How fast the whole chain is with the demo engine: parts a second, milliseconds from camera to verdict.

Run by `make bench`, not by `make test`: it measures, and the only thing it demands is that no part was lost.
Figures are medians and 99th percentiles over all parts of one run; the machine is printed with them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from statistics import median

import pytest
from rich.console import Console
from rich.table import Table

from lineside.daemon.demo.run import DemoPlan, run
from lineside.daemon.demo.summary import percentile
from lineside.daemon.demo.video import DrawnLine, draw_line
from lineside.daemon.engine_worker.messages import LookAhead

PARTS, ROUNDS = 90, 3
MODES: tuple[LookAhead, ...] = ("off", "on")
STAGES = {
    "queue": "waiting for the inspections before it",
    "crop_and_gates": "crops and image-quality gates",
    "preprocess": "engine: pixels to patches",
    "vision": "engine: vision tower",
    "prefill": "engine: prompt tail and forced tokens",
    "decode": "engine: decided tokens",
    "engine": "engine process, there and back",
    "rules": "rules",
    "trigger_to_verdict": "trigger to verdict",
    "camera_to_verdict": "camera to verdict",
}


def test_camera_to_verdict_by_stage(tmp_path: Path) -> None:
    line = draw_line(tmp_path, parts=PARTS, seed=21, good_share=0.8)
    at_speed = measured(line, tmp_path / "speed", realtime=True)
    flat_out = measured(line, tmp_path / "flat-out", realtime=False)

    Console(width=118).print(table(at_speed, flat_out))

    for summary, _ in (at_speed, flat_out):
        assert (summary["parts_judged"], summary["missed"], summary["doubled"]) == (PARTS, 0, 0)


@pytest.mark.timeout(3600)
def test_looking_ahead(tmp_path: Path) -> None:
    """The chain flat out with the engine process looking at the next question's picture, and without."""
    line = draw_line(tmp_path, parts=PARTS, seed=21, good_share=0.8)
    rows: list[tuple[str, dict[str, float]]] = []
    # Turn about, so that what else the machine does falls on both.
    for turn in range(ROUNDS):
        for ahead in MODES:
            summary, records = measured(line, tmp_path / f"{ahead}-{turn}", realtime=False, look_ahead=ahead)
            assert (summary["parts_judged"], summary["missed"], summary["doubled"]) == (PARTS, 0, 0)
            times = {
                stage: float(percentiles(records, stage)[0]) for stage in ("engine", "trigger_to_verdict")
            }
            rows.append((ahead, {"parts a second": float(str(summary["parts_per_second"])), **times}))

    shown = Table(
        title=f"Looking ahead, flat out, medians of {ROUNDS} runs · {machine()}", title_justify="left"
    )
    for name in ("", "off", "on", "worth"):
        shown.add_column(name, justify="right")
    for what in rows[0][1]:
        off, on = (median(run[what] for ahead, run in rows if ahead == wanted) for wanted in ("off", "on"))
        shown.add_row(what, f"{off:.1f}", f"{on:.1f}", f"{on / off:.2f}×")
    Console(width=118).print(shown)


Measured = tuple[dict[str, object], list[Mapping[str, object]]]


def measured(line: DrawnLine, folder: Path, *, realtime: bool, look_ahead: LookAhead = "auto") -> Measured:
    """One run of the real daemon over the line: the summary and every record."""
    folder.mkdir()
    records: list[Mapping[str, object]] = []
    with as_file(files("lineside.daemon.demo") / "tray-check.yaml") as recipe:
        plan = DemoPlan(
            folder=folder,
            camera={"kind": "file", "path": str(line.video), "realtime": realtime},
            recipe=recipe,
            bundle=None,
            look_ahead=look_ahead,
            parts=line.parts,
            reach=line.reach,
            with_dashboard=False,
            dashboard_port=0,
        )
        summary = run(
            plan,
            on_record=records.append,
            on_ready=lambda demo: None,
            on_done=lambda demo, summary: None,
            timeout_s=300,
        )
    return summary, records


def table(at_speed: Measured, flat_out: Measured) -> Table:
    """Both runs side by side."""
    title = f"{PARTS} parts, three questions each, demo engine · {machine()}"
    shown = Table(title=title, title_justify="left")
    shown.add_column("stage, milliseconds a part")
    for name in ("line speed p50", "p99", "flat out p50", "p99"):
        shown.add_column(name, justify="right")
    for stage, words in STAGES.items():
        cells = [cell for _, records in (at_speed, flat_out) for cell in percentiles(records, stage)]
        shown.add_row(words, *cells)
    rates = [str(summary["parts_per_second"]) for summary, _ in (at_speed, flat_out)]
    shown.add_section()
    shown.add_row("parts a second", rates[0], "", rates[1], "")
    return shown


def percentiles(records: list[Mapping[str, object]], stage: str) -> tuple[str, str]:
    """Median and 99th percentile of one stage."""
    values = []
    for record in records:
        timings = record["timings_ms"]
        assert isinstance(timings, Mapping)
        if stage in timings:
            values.append(float(timings[stage]))
    middle, high = percentile(values, 0.5), percentile(values, 0.99)
    return (f"{middle:.1f}", f"{high:.1f}") if middle is not None and high is not None else ("–", "–")


def machine() -> str:
    """What it ran on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return f"{os.cpu_count()} × {model}, load {os.getloadavg()[0]:.1f}"
