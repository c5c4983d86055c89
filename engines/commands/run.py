"""`lineside engine run`: one question about pictures, from the shell."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
import PIL.ImageOps

from lineside.engines.base import Answer, Choice, Clip, Count, Grammar, Image, Prompt, Schema, Text
from lineside.engines.commands.rim import BUNDLE, JSON, plain_errors


@click.command()
@BUNDLE
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A picture; several are asked about together.",
)
@click.option("--instruction", default="", help="The recipe's fixed words, before the pictures.")
@click.option("--question", default="", help="Words after the pictures.")
@click.option("--choice", help="Allowed values, separated by commas.")
@click.option("--count", metavar="MIN:MAX", help="Ask for a number, as in 0:10.")
@click.option("--text", metavar="PATTERN", help="Ask for text that matches a pattern.")
@click.option("--schema", type=click.File("r"), help="Ask for an object of a JSON Schema in a file.")
@click.option("--runtime", default="auto", show_default=True, help="auto, onnxruntime or onnxruntime-cuda.")
@click.option("--threads", type=click.IntRange(1), help="Cores to use; all by default.")
@click.option("--context-tokens", type=click.IntRange(1), help="Room for prompt, pictures and answer.")
@JSON
def run(
    bundle: Path,
    images: tuple[Path, ...],
    instruction: str,
    question: str,
    choice: str | None,
    count: str | None,
    text: str | None,
    schema: Any,
    runtime: str,
    threads: int | None,
    context_tokens: int | None,
    as_json: bool,
) -> None:
    """Ask an engine one question about pictures."""
    from lineside.engines.open import Engine

    grammar = _grammar(choice, count, text, schema)
    pictures = [_read(path) for path in images]
    with (
        plain_errors(),
        Engine.open(bundle, runtime, threads=threads, context_tokens=context_tokens) as session,
    ):
        answer = session.answer(pictures, Prompt(instruction, question), grammar)
    click.echo(json.dumps(_fields(answer), ensure_ascii=False) if as_json else _lines(answer))


def _grammar(choice: str | None, count: str | None, text: str | None, schema: Any) -> Grammar:
    given = [one for one in (choice, count, text, schema) if one is not None]
    if len(given) != 1:
        raise click.UsageError("say what may be answered with one of --choice, --count, --text and --schema")
    if choice is not None:
        return Choice(tuple(value.strip() for value in choice.split(",") if value.strip()))
    if count is not None:
        low, colon, high = count.partition(":")
        try:
            return Count(int(low), int(high)) if colon else Count(0, int(low))
        except ValueError as error:
            raise click.UsageError(f"--count takes MIN:MAX, not {count!r}") from error
    if text is not None:
        return Text(text)
    try:
        return Schema(json.load(schema))
    except ValueError as error:
        raise click.UsageError(f"--schema: {error}") from error


def _read(path: Path) -> Image | Clip:
    try:
        with PIL.Image.open(path) as picture:
            return np.asarray(PIL.ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise click.UsageError(f"{path} cannot be read as a picture: {error}") from error


def _fields(answer: Answer) -> dict[str, Any]:
    fields = {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
    fields["probabilities"] = dict(answer.probabilities)
    fields["decisions"] = [dataclasses.asdict(decision) for decision in answer.decisions]
    fields["tokens"] = dataclasses.asdict(answer.tokens)
    fields["timings"] = {name: round(value, 3) for name, value in dataclasses.asdict(answer.timings).items()}
    return fields


def _lines(answer: Answer) -> str:
    lines = [f"{answer.value}  {answer.confidence:.4f}"]
    likely = sorted(answer.probabilities.items(), key=lambda item: -item[1])[1:5]
    lines += [f"  {value}  {probability:.4f}" for value, probability in likely]
    if not answer.probabilities and answer.runner_up is not None:
        lines.append(f"  {answer.runner_up[0]}  {answer.runner_up[1]:.4f}")
    if answer.familiarity is not None:
        lines.append(
            f"  familiarity {answer.familiarity:.2f}" + ("  UNFAMILIAR" if answer.familiarity > 1 else "")
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
