"""`lineside engine run`: one answer from the shell."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from lineside.engines.base import Answer, Clip, EngineInfo, Free, Image
from lineside.engines.commands.grammars import Asked, question_options
from lineside.engines.commands.pictures import read_clip, read_picture
from lineside.engines.commands.rim import BUNDLE, JSON, RUNTIME, THREADS, plain_errors
from lineside.engines.memory import size_text

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@BUNDLE
@click.option(
    "--image", "images", multiple=True, type=_FILE, help="A picture; several are asked about together."
)
@click.option("--video", type=_FILE, help="A clip, after the pictures.")
@click.option("--video-fps", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True)
@click.option("--video-frames", type=click.IntRange(2), default=64, show_default=True, help="At most.")
@question_options
@click.option("--raw", is_flag=True, help="Send --prompt as it is, without the chat template.")
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True)
@click.option(
    "--logits",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the logits the answer is read from, float32 [places, vocabulary], to this .npy file.",
)
@RUNTIME
@THREADS
@click.option("--context-tokens", type=click.IntRange(1), help="Room for prompt, pictures and answer.")
@JSON
def run(
    bundle: Path,
    images: tuple[Path, ...],
    video: Path | None,
    video_fps: float,
    video_frames: int,
    asked: Asked,
    raw: bool,
    max_tokens: int,
    logits: Path | None,
    runtime: str,
    threads: int | None,
    context_tokens: int | None,
    as_json: bool,
) -> None:
    """Ask an engine one question, about pictures, a clip, or nothing but words.

    The first row of --logits is after the prompt (and after what the answer's form forces), the others are of
    each step; of a choice or count, of each place where allowed values part.
    """
    from lineside.engines.open import Engine

    grammar, prompt = asked.read_grammar(), asked.read_prompt(raw=raw)
    pictures: list[Image | Clip] = [read_picture(path) for path in images]
    if video is not None:
        pictures.append(read_clip(video, video_fps, video_frames))
    seen: list[NDArray[np.float32]] = []
    with (
        plain_errors(),
        Engine.open(bundle, runtime, threads=threads, context_tokens=context_tokens) as session,
    ):
        answer = session.answer(
            pictures,
            prompt,
            grammar,
            max_tokens=max_tokens,
            observe=None if logits is None else lambda row: seen.append(row.copy()),
        )
        info = session.info
    if logits is not None:
        with logits.open("wb") as file:
            np.save(file, np.stack(seen))
    cut = isinstance(grammar, Free) and len(answer.token_ids) >= max_tokens
    if as_json:
        click.echo(json.dumps(_fields(answer, info, cut=cut), ensure_ascii=False))
    else:
        click.echo(_lines(answer, info, cut=cut))


def _fields(answer: Answer, info: EngineInfo, *, cut: bool) -> dict[str, Any]:
    fields = {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
    fields["probabilities"] = dict(answer.probabilities)
    fields["decisions"] = [dataclasses.asdict(decision) for decision in answer.decisions]
    fields["tokens"] = dataclasses.asdict(answer.tokens)
    fields["timings"] = {name: round(value, 3) for name, value in dataclasses.asdict(answer.timings).items()}
    fields["cut"] = cut
    fields["engine"] = {
        name: getattr(info, name)
        for name in ("name", "version", "digest", "runtime", "context_tokens", "memory_bytes")
    }
    return fields


def _lines(answer: Answer, info: EngineInfo, *, cut: bool) -> str:
    lines = [f"{answer.value}  {answer.confidence:.4f}"]
    if cut:
        lines.append("  cut at --max-tokens")
    likely = sorted(answer.probabilities.items(), key=lambda item: -item[1])[1:5]
    lines += [f"  {value}  {probability:.4f}" for value, probability in likely]
    if not answer.probabilities and answer.runner_up is not None:
        lines.append(f"  {answer.runner_up[0]}  {answer.runner_up[1]:.4f}")
    if answer.familiarity is not None:
        lines.append(
            f"  familiarity {answer.familiarity:.2f}" + ("  UNFAMILIAR" if answer.familiarity > 1 else "")
        )
    lines.append(f"  token ids {' '.join(str(token) for token in answer.token_ids)}")
    lines.append(
        f"  {info.name} {info.version} on {info.runtime}: up to {size_text(info.memory_bytes)} for "
        f"{info.context_tokens} tokens"
    )
    times, counts = answer.timings, answer.tokens
    lines.append(
        f"  {times.total:.1f} ms: preprocess {times.preprocess:.1f}, vision {times.vision:.1f}, "
        f"prefill {times.prefill:.1f}, decode {times.decode:.1f}"
    )
    lines.append(
        f"  tokens: prefix {counts.prefix}, prompt {counts.prompt}, image {counts.image}, "
        f"forced {counts.forced}, decided {counts.decided}"
    )
    return "\n".join(lines)
