"""`lineside inspect`: judges pictures from files, one JSON line each. No daemon, no camera, no store."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path

import click
import cv2
import numpy as np

from lineside.daemon.cameras.base import CameraLost, EndOfSource
from lineside.daemon.cameras.file import FileSource
from lineside.daemon.cameras.recent import RecentFrames
from lineside.daemon.clock import Clock, SystemClock, boot_id
from lineside.daemon.composition import demo_bundle
from lineside.daemon.gates.baseline import BadBaseline
from lineside.daemon.inspection.inspect import Inspector
from lineside.daemon.inspection.job import Job
from lineside.daemon.inspection.local_engine import LocalEngine
from lineside.daemon.inspection.overlay import annotate
from lineside.daemon.inspection.plan import Plan
from lineside.daemon.recipe_book import load_plan
from lineside.daemon.recipes.sight import ClipOption
from lineside.daemon.settings import FileCamera
from lineside.daemon.store.records import rfc3339
from lineside.daemon.triggers.motion.locate import locate_part
from lineside.daemon.triggers.options import MotionOptions
from lineside.daemon.values import (
    Box,
    EvidenceImage,
    Frame,
    Intake,
    Picture,
    ResultDraft,
    TriggerKind,
    Verdict,
)
from lineside.daemon.yamlfile import BadFile
from lineside.engines.errors import EngineError
from lineside.engines.open import Engine

EXIT_ALL_OK, EXIT_UNREADABLE = 0, 1


@click.command()
@click.option(
    "--recipe",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Recipe to judge by.",
)
@click.option(
    "--engine",
    type=click.Path(exists=True, path_type=Path),
    default=None,
    help="Engine bundle; the demo engine where none is given.",
)
@click.option("--runtime", default="auto", show_default=True)
@click.option(
    "--threads", type=click.IntRange(0, 256), default=0, help="CPU threads; 0: as many as there are cores."
)
@click.option("--expect", multiple=True, metavar="KEY=VALUE", help="What MES would send, such as lot=K48213.")
@click.option(
    "--show",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for annotated pictures and the crops that were looked at.",
)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
def inspect(
    recipe: Path,
    engine: Path | None,
    runtime: str,
    threads: int,
    expect: tuple[str, ...],
    show: Path | None,
    images: tuple[Path, ...],
) -> None:
    """Judges pictures from files and prints one JSON line each; of a video its last picture.

    A question about a clip looks at the video's last seconds.
    With `anchor: part` the part is found in each picture by itself. Exit code 0 when every picture got
    a verdict, 1 when one could not be read, 2 for wrong usage, 3 when recipe or engine are refused.
    """
    expected = _expected(expect)
    try:
        plan = load_plan(recipe)
    except (BadFile, BadBaseline) as error:
        click.echo(str(error), err=True)
        sys.exit(3)
    clock = SystemClock()
    with _opened(engine or demo_bundle(), runtime, threads, plan) as judge:
        inspector = Inspector(judge, clock)
        unreadable = 0
        for path in images:
            frames = _read(path, plan, clock)
            if frames is None:
                unreadable += 1
                click.echo(
                    json.dumps({"image": str(path), "error": "not a picture or video that can be read"})
                )
                continue
            last, clips = frames
            job = _job(path, last, clips, plan, expected, clock)
            draft, pictures = inspector.inspect(job)
            shown = _show(show, path, last.image, draft, pictures) if show is not None else []
            click.echo(json.dumps(_line(path, draft, shown)))
    sys.exit(EXIT_UNREADABLE if unreadable else EXIT_ALL_OK)


@contextmanager
def _opened(bundle: Path, runtime: str, threads: int, plan: Plan) -> Iterator[LocalEngine]:
    try:
        engine = Engine.open(bundle, runtime=runtime, threads=threads or None)
        for look in plan.looks:
            engine.warm(look.prompt, look.grammar)
    except EngineError as error:
        click.echo(f"{bundle}: {error}", err=True)
        sys.exit(3)
    try:
        yield LocalEngine(engine)
    finally:
        engine.close()


def _expected(pairs: tuple[str, ...]) -> dict[str, str]:
    expected = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--expect takes KEY=VALUE, not '{pair}'")
        expected[key] = value
    return expected


def _read(path: Path, plan: Plan, clock: Clock) -> tuple[Frame, dict[ClipOption, tuple[Frame, ...]]] | None:
    """A picture, or a video's last picture, and the clips that end with it; None where it is neither."""
    recent = RecentFrames()
    recent.keep(plan.clips)
    last: Frame | None = None
    for frame in _frames(path, clock):
        recent.put(frame, lambda: False)
        last = frame
    if last is None:
        return None
    # A video took its time to be read: it is judged as if its last picture were taken now.
    last = replace(last, captured_ns=clock.monotonic_ns(), captured_at=clock.now())
    return last, {clip: recent.clip(last, clip) for clip in plan.clips}


def _frames(path: Path, clock: Clock) -> Iterator[Frame]:
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError:
        return
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is not None:
        picture = np.asarray(image, dtype=np.uint8)
        yield Frame("file", 0, picture, clock.monotonic_ns(), clock.now(), played_ns=0)
        return
    video = FileSource(FileCamera(id="file", kind="file", path=path, realtime=False), clock)
    try:
        video.open()
        while (frame := video.read()) is not None:
            yield frame
    except (CameraLost, EndOfSource):
        return
    finally:
        video.close()


def _job(
    path: Path,
    frame: Frame,
    clips: Mapping[ClipOption, tuple[Frame, ...]],
    plan: Plan,
    expected: dict[str, str],
    clock: Clock,
) -> Job:
    intake = Intake(
        result_id=clock.new_id(),
        station="file",
        camera="file",
        part_id=path.stem,
        part_id_given=True,
        trigger=TriggerKind.FILE,
        triggered_at=clock.now(),
        boot_id=boot_id(),
        frame_index=None,
        recipe=plan.ref,
        expected=expected,
    )
    return Job(intake, frame, part_box(frame.image, plan), plan, clock.monotonic_ns(), clips)


def part_box(picture: Picture, plan: Plan) -> Box | None:
    """Where the part lies, for a recipe whose regions lie on the part."""
    recipe = plan.loaded.recipe
    if recipe.anchor != "part" or not isinstance(recipe.trigger, MotionOptions):
        return None
    return locate_part(picture, recipe.trigger)


def _line(path: Path, draft: ResultDraft, shown: list[str]) -> dict[str, object]:
    return {
        "image": str(path),
        "verdict": str(draft.verdict),
        "reasons": [asdict(reason) for reason in draft.reasons],
        "findings": [asdict(finding) for finding in draft.findings],
        "outcomes": [asdict(outcome) for outcome in draft.outcomes],
        "recipe": asdict(draft.intake.recipe),
        "engine": asdict(draft.engine) if draft.engine is not None else None,
        "part_box": draft.part_box,
        "timings_ms": dict(draft.timings_ms),
        "decided_at": rfc3339(draft.decided_at),
        **({"shown": shown} if shown else {}),
    }


def _show(
    folder: Path, path: Path, picture: Picture, draft: ResultDraft, pictures: tuple[EvidenceImage, ...]
) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    annotated = folder / f"{path.stem}.{Verdict(draft.verdict).lower()}.png"
    done, data = cv2.imencode(".png", annotate(picture, draft))
    if done:
        annotated.write_bytes(np.asarray(data).tobytes())
    names = [str(annotated)]
    for image in pictures:
        if image.role != "frame":
            # A question may be shown several: its places, and the reference they are compared with.
            crop = folder / f"{path.stem}.{image.ask}.png"
            for number in count(2):
                if str(crop) not in names:
                    break
                crop = folder / f"{path.stem}.{image.ask}.{number}.png"
            crop.write_bytes(image.data)
            names.append(str(crop))
    return names
