"""`lineside engine build`: from a Hugging Face checkpoint to an engine bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from lineside.engines.commands.rim import plain_errors


@click.command()
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

    with plain_errors():
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
