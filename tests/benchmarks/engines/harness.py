"""What the engine benchmarks share: measurements in processes of their own, medians, tables, built engines.

Engines and GGUF files are kept in `$LINESIDE_BENCH` (the user's cache folder by default) from run to run.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import shapes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DEMO = ROOT / "engines" / "demo" / "demo.lsengine"


def place() -> Path:
    """Where built engines are kept."""
    named = os.environ.get("LINESIDE_BENCH")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else cache / "lineside" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def checkpoint(shape: shapes.Shape) -> Path:
    """A random checkpoint of a published shape."""
    folder = place() / f"{shape.name}-checkpoint"
    if not (folder / "tokenizer.json").exists():
        shapes.write_checkpoint(shape, folder)
    return folder


def bundle(shape: shapes.Shape, precision: str, *, block: int | None = None) -> Path:
    """The engine of a random checkpoint, built as a user builds one.

    `block`: the only block size that int4 may take, where it is not to be chosen by error.
    """
    from lineside.engines.build import Storage, build_bundle
    from lineside.engines.quantise import forms

    out = place() / (f"{shape.name}-{precision}" + (f"-b{block}" if block else ""))
    if not out.exists():
        if block:
            forms._INT4 = tuple(form for form in forms._INT4 if form.block == block)
        build_bundle(
            checkpoint(shape),
            out,
            name=f"random-{shape.name}",
            version="0",
            licence="none",
            source={"model": "random", "revision": "0"},
            storage=Storage(precision),  # type: ignore[arg-type]
        )
    return out


def gguf(shape: shapes.Shape) -> Path:
    """The same shape for llama.cpp."""
    path = place() / f"{shape.name}-q4_0.gguf"
    if not path.exists():
        shapes.write_gguf(shape, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
    return path


def cores(count: int | None = None) -> list[int]:
    """The cores measurements run on: at most two, or `count`, of those this process may use."""
    return sorted(os.sched_getaffinity(0))[: count or 2]


def measure(name: str, *, on: Sequence[int] | None = None, **arguments: Any) -> dict[str, Any]:
    """One measurement of measure.py."""
    given = json.dumps({"cores": list(on or cores()), **arguments}, default=str)
    done = subprocess.run(
        [sys.executable, str(HERE / "measure.py"), name, given], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} {given} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def machine() -> str:
    """What the numbers below were taken on, and how busy it was."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    commit = ""
    if shutil.which("git"):
        run = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        commit = f", commit {run.stdout.strip()}" if run.returncode == 0 else ""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{model}, {len(cores())} of {os.cpu_count()} cores, {platform.system()}, "
        f"ONNX Runtime {onnxruntime.__version__}{commit}; load average at the end {load}"
    )


def print_table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str] = ()
) -> None:
    """A Markdown table on standard output."""
    print(f"\n### {title}\n\n{machine()}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(_shown(cell) for cell in row) + " |")
    for note in notes:
        print(f"\n{note}")
    sys.stdout.flush()


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"
    return str(cell)
