"""`lineside engine`: look at an engine bundle, verify it, ask it, and build one from a checkpoint.

The rim: arguments in, text or JSON out. Knows the engine package; does not know the daemon.
Exit codes: 0 done, 1 no answer came out, 2 wrong usage, 3 the bundle, checkpoint or question is refused.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
import PIL.ImageOps

from lineside.engines.base import Answer, Choice, Clip, Count, Grammar, Image, Prompt, Schema, Text
from lineside.engines.errors import EngineError, UndecodableAnswer

_BUNDLE = click.argument("bundle", type=click.Path(exists=True, path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of text.")


class Refused(click.ClickException):
    """The bundle, checkpoint or question was refused; the message says what to do."""

    exit_code = 3


class NoAnswer(click.ClickException):
    """The engine ran and gave no valid answer."""

    exit_code = 1


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turns the engine's own errors into a line on stderr and an exit code."""
    try:
        yield
    except EngineError as error:
        failed = NoAnswer if isinstance(error, UndecodableAnswer) else Refused
        raise failed(str(error)) from error


@click.group()
def engine() -> None:
    """Engine bundles: show, verify, run, build."""


@engine.command()
@_BUNDLE
@_JSON
def show(bundle: Path, as_json: bool) -> None:
    """Say what a bundle is (and verify it)."""
    from lineside.engines.bundle import verify_bundle

    with _plain_errors():
        manifest = verify_bundle(bundle)
    said = {
        "name": manifest.name,
        "version": manifest.version,
        "is_demo": manifest.is_demo,
        "digest": manifest.digest,
        "licence": manifest.licence,
        "precision": manifest.precision,
        "source": dict(manifest.source),
        "context_tokens": manifest.context_tokens,
        "runtimes": list(manifest.runtimes),
        "files": len(manifest.files),
        "scope": None
        if manifest.scope is None
        else [
            {"instruction": entry.instruction, "kind": entry.kind, "values": list(entry.values)}
            for entry in manifest.scope
        ],
        "card": dict(manifest.card),
    }
    if as_json:
        click.echo(json.dumps(said, ensure_ascii=False))
        return
    click.echo(f"{said['name']} {said['version']}" + ("  (demo engine)" if manifest.is_demo else ""))
    for key in ("digest", "licence", "precision", "context_tokens"):
        click.echo(f"  {key.replace('_', ' '):<15}{said[key]}")
    click.echo(f"  {'source':<15}" + ", ".join(f"{key} {value}" for key, value in manifest.source.items()))
    click.echo(f"  {'builds':<15}{', '.join(manifest.runtimes)}")
    click.echo(f"  {'files':<15}{len(manifest.files)}, all with the right sha256")
    for entry in manifest.scope or ():
        allowed = ", ".join(entry.values) or entry.pattern or "any"
        click.echo(f"  {'knows':<15}{entry.instruction}  {entry.kind}: {allowed}")


@engine.command()
@_BUNDLE
@_JSON
def verify(bundle: Path, as_json: bool) -> None:
    """Check a bundle's files against its manifest."""
    from lineside.engines.bundle import verify_bundle

    with _plain_errors():
        manifest = verify_bundle(bundle)
    if as_json:
        click.echo(json.dumps({"digest": manifest.digest, "files": len(manifest.files)}))
    else:
        click.echo(f"{bundle}: {len(manifest.files)} files, all right; digest {manifest.digest}")


@engine.command()
@_BUNDLE
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
@_JSON
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
        _plain_errors(),
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


@engine.command()
@click.argument("checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="A folder, or NAME.lsengine."
)
@click.option("--name", required=True)
@click.option("--version", required=True)
@click.option("--licence", required=True, help="The weights' licence, as an SPDX name.")
@click.option("--source", default="", help="Where the checkpoint is from; its folder's name by default.")
@click.option("--revision", default="", help="Which revision of the source.")
@click.option("--context-tokens", type=click.IntRange(1), help="The most an opened engine may be given.")
@click.option("--demo", is_flag=True, help="Mark it as the demo engine, which knows its own questions only.")
def build(
    checkpoint: Path,
    out: Path,
    name: str,
    version: str,
    licence: str,
    source: str,
    revision: str,
    context_tokens: int | None,
    demo: bool,
) -> None:
    """Build an engine bundle from a Hugging Face checkpoint folder."""
    from lineside.engines.build import build_bundle

    with _plain_errors():
        digest = build_bundle(
            checkpoint,
            out,
            name=name,
            version=version,
            licence=licence,
            source={"model": source or checkpoint.resolve().name, "revision": revision},
            context_tokens=context_tokens,
            is_demo=demo,
            scope=_demo_scope() if demo else None,
        )
    click.echo(f"{out}: {digest}")


def _demo_scope() -> list[Mapping[str, object]]:
    """The demo engine's questions as the manifest lists them."""
    from lineside.engines.demo.questions import QUESTIONS

    entries: list[Mapping[str, object]] = []
    for question in QUESTIONS:
        entry: dict[str, object] = {"id": question.id, "instruction": question.text, "kind": question.kind}
        if question.kind == "text":
            entry["pattern"] = question.pattern
        elif question.kind == "count":
            entry["values"] = [str(value) for value in range(question.maximum + 1)]
        else:
            entry["values"] = list(question.choices)
        entries.append(entry)
    return entries
