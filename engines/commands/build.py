"""`lineside engine build`: from a Hugging Face checkpoint to an engine bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from lineside.engines.commands.rim import JSON, plain_errors
from lineside.engines.errors import UnsupportedModel
from lineside.engines.progress import Progress
from lineside.engines.quantise.forms import PRECISIONS, Precision

_PRECISION = click.Choice(PRECISIONS)


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="A folder, or NAME.lsengine."
)
@click.option(
    "--precision", type=_PRECISION, default="fp32", show_default=True, help="How weights are stored."
)
@click.option("--vision-precision", type=_PRECISION, help="Of the vision tower; measured best by default.")
@click.option(
    "--head-bits",
    type=click.Choice(["4", "8"]),
    default="4",
    show_default=True,
    help="Of an int4 engine's output head.",
)
@click.option(
    "--calibrate",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of your own pictures, to round by what they send through the model.",
)
@click.option(
    "--adapter",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A LoRA adapter's folder (PEFT), to merge.",
)
@click.option("--raw", is_flag=True, help="A base model without a chat template: prompts go in as they are.")
@click.option("--name", help="The engine's name; the checkpoint's by default.")
@click.option("--version", help="The engine's version; the checkpoint's revision by default, or 1.")
@click.option("--licence", help="The weights' licence, as an SPDX name; the model card's by default.")
@click.option("--source", "origin", help="Where the checkpoint is from; its own name by default.")
@click.option("--revision", help="Which revision of the source.")
@click.option("--context-tokens", type=click.IntRange(1), help="The most an opened engine may be given.")
@click.option(
    "--no-selftest", is_flag=True, help="Make no self-test vectors (they need the engine in memory)."
)
@click.option(
    "--sign",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A private key's file (`lineside engine keys new`) to sign the bundle with.",
)
@click.option("--demo", is_flag=True, help="Mark it as the demo engine, which knows its own questions only.")
@JSON
def build(
    source: str,
    out: Path,
    precision: Precision,
    vision_precision: Precision | None,
    head_bits: str,
    calibrate: Path | None,
    adapter: Path | None,
    raw: bool,
    name: str | None,
    version: str | None,
    licence: str | None,
    origin: str | None,
    revision: str | None,
    context_tokens: int | None,
    no_selftest: bool,
    sign: Path | None,
    demo: bool,
    as_json: bool,
) -> None:
    """Build an engine bundle from a checkpoint.

    SOURCE is a Hugging Face checkpoint's folder, or a model of the Hugging Face hub: owner/name[@revision].
    """
    from lineside.engines.build import QUANTISATION_FILE, Storage, build_bundle
    from lineside.engines.checkpoint import describe
    from lineside.engines.hub import find_checkpoint
    from lineside.engines.signing import private_key, sign_bundle

    with plain_errors():
        if sign is not None:
            private_key(sign)  # a key that cannot be used is better known before the work than after it
        folder = find_checkpoint(source)
        said = describe(folder)
        if licence is None and said.licence is None:
            raise UnsupportedModel(
                f"{folder}: there is no model card (README.md) that names a licence: say it with --licence."
            )
        seen = said.revision if revision is None else revision
        with _watched(shown=not as_json) as progress:
            digest = build_bundle(
                folder,
                out,
                name=name or said.model.rsplit("/", 1)[-1],
                version=version or said.revision[:12] or "1",
                licence=licence or said.licence or "",
                source={"model": origin or said.model, "revision": seen}
                | ({"adapter": adapter.resolve().name} if adapter is not None else {}),
                storage=Storage(precision, vision_precision, 8 if head_bits == "8" else 4),
                adapter=adapter,
                calibration_images=calibrate,
                raw=raw,
                context_tokens=context_tokens,
                is_demo=demo,
                scope=_demo_scope() if demo else None,
                selftest=not no_selftest,
                progress=progress,
            )
        signer = sign_bundle(out, sign) if sign is not None else None
    size = sum(one.stat().st_size for one in out.rglob("*")) if out.is_dir() else out.stat().st_size
    if as_json:
        fields = {"bundle": str(out), "digest": digest, "precision": precision, "bytes": size, "key": signer}
        click.echo(json.dumps(fields | {"forms": progress.forms}, ensure_ascii=False))
        return
    click.echo(f"{out}: {digest}" + (f", signed by {signer}" if signer is not None else ""))
    for form, (count, error) in progress.forms.items():
        click.echo(f"  {count} matrices as {form}, relative error up to {error:.4f} ({QUANTISATION_FILE})")


class _Watched(Progress):
    """A build's progress as a bar on the terminal, where there is one."""

    def __init__(self, bar: Bar) -> None:
        self.forms: dict[str, tuple[int, float]] = {}
        self._bar = bar
        self._task: TaskID | None = None

    def forecast(self, words: str) -> None:
        """Says it on stderr, bar or none: before an hour's work is the time to hear it."""
        click.echo(f"needs {words}", err=True)

    def stage(self, name: str, total_bytes: int) -> None:
        """Starts a new bar; one without an end where nobody knows it."""
        self._close()
        self._task = self._bar.add_task(name, total=total_bytes or None)

    def advance(self, done_bytes: int) -> None:
        """Moves the bar."""
        if self._task is not None:
            self._bar.advance(self._task, done_bytes)

    def stored(self, form: str, error: float) -> None:
        """Counts the matrices of each form and keeps the largest error."""
        count, worst = self.forms.get(form, (0, 0.0))
        self.forms[form] = (count + 1, max(worst, error))

    def _close(self) -> None:
        if self._task is not None:
            self._bar.update(self._task, visible=False)


@contextmanager
def _watched(*, shown: bool) -> Iterator[_Watched]:
    # On stderr, so that what is printed stays usable in a pipe; rich draws nothing where it is no terminal.
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=not (shown and console.is_terminal)) as bar:
        yield _Watched(bar)


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
