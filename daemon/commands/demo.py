"""`lineside demo`: a line being inspected on this machine, with nothing to prepare."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from lineside.daemon.demo.broker import port_or_free
from lineside.daemon.demo.console import show_summary, verdict_line
from lineside.daemon.demo.run import CAMERA, DemoFailed, DemoPlan, RunningDemo, run, sign_in_link
from lineside.daemon.demo.video import draw_line

VIDEO_ENDINGS = {".avi", ".mp4", ".mkv", ".mov", ".webm", ".mjpeg", ".mjpg", ".ts"}


@click.command()
@click.option(
    "--parts",
    type=click.IntRange(1, 100_000),
    default=60,
    show_default=True,
    help="How many parts to draw; with --source: stop after so many.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed draws the same line.")
@click.option(
    "--good-share",
    type=click.FloatRange(0, 1),
    default=0.8,
    show_default=True,
    help="Share of good parts on the drawn line.",
)
@click.option(
    "--headless", is_flag=True, help="No dashboard; ends by itself with the summary as one JSON line."
)
@click.option(
    "--fast", is_flag=True, help="Play the line as fast as it is judged instead of at its own speed."
)
@click.option(
    "--source", help="A folder of pictures, a video file or a stream's URL instead of the drawn line."
)
@click.option(
    "--recipe",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Recipe to judge by; needed with --source.",
)
@click.option(
    "--engine",
    type=click.Path(exists=True, path_type=Path),
    help="Engine bundle; the demo engine where none is given.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    help="Folder for video, truth, settings, results and logs; each run makes a new folder in it.",
)
@click.option(
    "--dashboard-port",
    type=click.IntRange(1, 65535),
    default=8088,
    show_default=True,
    help="Where the dashboard listens on this machine; another free port where it is taken.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    default=90.0,
    show_default=True,
    help="Give up when nothing new was heard for so many seconds.",
)
def demo(
    parts: int,
    seed: int,
    good_share: float,
    headless: bool,
    fast: bool,
    source: str | None,
    recipe: Path | None,
    engine: Path | None,
    out: Path,
    dashboard_port: int,
    timeout_s: float,
) -> None:
    """Inspects a line and shows verdicts as they fall.

    Without --source the project draws a line of its own (a dosing tray with cap, tablets and lot code)
    and compares the verdicts with what was drawn. Everything is real: a broker, the daemon in its own
    process, its engine in another, one listener on MQTT and one on gRPC.
    """
    console = Console(stderr=headless)
    if source is not None and recipe is None:
        raise click.UsageError("--source needs --recipe: what to ask of your parts (see docs/recipes.md)")
    folder = out.resolve() / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True, exist_ok=False)
    with as_file(files("lineside.daemon.demo") / "tray-check.yaml") as own_recipe:
        if source is None:
            with Progress(console=console, transient=True) as progress:
                task = progress.add_task("drawing the line", total=parts)
                line = draw_line(folder, parts=parts, seed=seed, good_share=good_share,
                                 progress=lambda done: progress.update(task, completed=done))  # fmt: skip
            camera: Mapping[str, object] = {"kind": "file", "path": str(line.video), "realtime": not fast}
            drawn, reach, stop_after = line.parts, line.reach, None
        else:
            camera, stop_after = _camera_of(source, fast), parts
            drawn, reach = None, 0
        plan = DemoPlan(
            folder=folder,
            camera=camera,
            recipe=(recipe or own_recipe).resolve(),
            bundle=engine.resolve() if engine is not None else None,
            parts=drawn,
            reach=reach,
            with_dashboard=not headless,
            dashboard_port=port_or_free(dashboard_port),
            stop_after=stop_after,
        )
        _run(plan, console, headless, timeout_s)


def _run(plan: DemoPlan, console: Console, headless: bool, timeout_s: float) -> None:
    printing = threading.Lock()

    def on_record(record: Mapping[str, object]) -> None:
        with printing:
            console.print(verdict_line(record), soft_wrap=True, highlight=False)

    def on_ready(demo: RunningDemo) -> None:
        link = sign_in_link(demo, plan.folder)
        dashboard = f"dashboard {link} (opens once; then {demo.dashboard_url}) · " if link else ""
        broker = f"MQTT {demo.broker.host}:{demo.broker.port} ({demo.broker.kind})"
        where = f"{dashboard}gRPC {demo.grpc_target} · {broker} · camera {CAMERA} · files in {plan.folder}"
        console.print(where, highlight=False, soft_wrap=True)

    def on_done(demo: RunningDemo, summary: dict[str, object]) -> None:
        show_summary(console, summary)
        if not headless:
            console.print(
                f"The line has ended. {demo.dashboard_url} stays up; Ctrl-C ends it.", highlight=False
            )
            threading.Event().wait()

    try:
        summary = run(plan, on_record=on_record, on_ready=on_ready, on_done=on_done, timeout_s=timeout_s)
    except DemoFailed as failure:
        raise click.ClickException(str(failure)) from failure
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(0)
    print(json.dumps(summary), flush=True)  # noqa: T201 - the one line for machines, on standard output


def _camera_of(source: str, fast: bool) -> Mapping[str, object]:
    if "://" in source:
        return {"kind": "stream", "url": source}
    path = Path(source)
    if path.is_dir():
        return {"kind": "folder", "path": str(path.resolve()), "fps": None if fast else 5}
    if path.is_file() and path.suffix.lower() in VIDEO_ENDINGS:
        return {"kind": "file", "path": str(path.resolve()), "realtime": not fast}
    if path.exists():
        raise click.UsageError(
            f"{source} is no video this knows by its ending ({', '.join(sorted(VIDEO_ENDINGS))})"
        )
    raise click.UsageError(
        f"{source} does not exist: give a folder of pictures, a video file or a stream's URL"
    )
