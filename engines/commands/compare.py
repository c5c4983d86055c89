"""`lineside engine compare`: two engines on the same pictures, so that none is ever shipped blind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lineside.engines.base import Choice, Count, Grammar, Image, Prompt, Schema, Text
from lineside.engines.commands.grammars import Asked, question_options
from lineside.engines.commands.pictures import picture_files, read_picture
from lineside.engines.commands.rim import JSON, RUNTIME, THREADS, as_json_text, plain_errors
from lineside.engines.compare import WHOLE, Question, QuestionComparison, Region, compare_engines

_ENGINE = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("first", metavar="A", type=_ENGINE)
@click.argument("second", metavar="B", type=_ENGINE)
@click.option(
    "--images",
    multiple=True,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A picture, or a folder of them.",
)
@click.option(
    "--questions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A recipe, or a file with `ask` (and `regions`) as a recipe has them.",
)
@question_options
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="End with 1 where the engines agree on fewer verdicts of any question (0.99 for 99 %).",
)
@RUNTIME
@THREADS
@click.option("--context-tokens", type=click.IntRange(1), help="Room for prompt, pictures and answer.")
@JSON
def compare(
    first: Path,
    second: Path,
    images: tuple[Path, ...],
    questions: Path | None,
    asked: Asked,
    max_tokens: int,
    min_agreement: float,
    runtime: str,
    threads: int | None,
    context_tokens: int | None,
    as_json: bool,
) -> None:
    """Ask engines A and B the same questions about the same pictures, and say how far they differ.

    Questions come from --questions, from the question's own options, or else are those that A was trained on.
    """
    from lineside.engines.open import Engine

    files = list(picture_files(images))
    if not files:
        raise click.UsageError("--images names no pictures")
    with (
        plain_errors(),
        Engine.open(first, runtime, threads=threads, context_tokens=context_tokens) as one,
        Engine.open(second, runtime, threads=threads, context_tokens=context_tokens) as other,
    ):
        found = compare_engines(
            one,
            other,
            ((path.name, read_picture(path)) for path in files),
            _questions(first, questions, asked),
            max_tokens=max_tokens,
        )
        infos = [engine.info for engine in (one, other)]
    names = [f"{info.name} {info.version} {info.precision}" for info in infos]
    least = min(result.verdict_agreement for result in found)
    passed = least >= min_agreement
    if as_json:
        said = {"a": names[0], "b": names[1], "verdict_agreement": least, "passed": passed}
        click.echo(as_json_text(said | {"questions": [asdict(result) for result in found]}))
    else:
        click.echo("\n".join(_lines(names, found)))
    if not passed:
        click.echo(f"they agree on {least:.2%} of the verdicts, {min_agreement:.2%} were asked for", err=True)
        raise SystemExit(1)


def _questions(bundle: Path, file: Path | None, asked: Asked) -> list[Question]:
    from lineside.engines.bundle import peek_manifest
    from lineside.engines.selftest import scope_case

    if file is not None:
        if not asked.is_nothing():
            raise click.UsageError("give --questions or one question's own options, not both")
        return read_questions(file)
    if not asked.is_nothing():
        return [Question("question", asked.read_prompt(), asked.read_grammar())]
    scope = peek_manifest(bundle).scope
    if not scope:
        raise click.UsageError("say what is asked: --questions FILE, or --instruction with --choice or so")
    cases = [scope_case(entry) for entry in scope]
    return [Question(case.name, case.prompt, case.grammar) for case in cases]


def read_questions(path: Path) -> list[Question]:
    """The questions in a recipe, or in a file with `ask` and `regions` as a recipe has them (YAML or JSON).

    Raises:
        click.UsageError: there are none, or one that cannot be asked; says which.
    """
    try:
        raw: Any = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except (YAMLError, OSError, ValueError) as error:
        raise click.UsageError(f"{path} cannot be read: {error}") from error
    asks = raw.get("ask") if isinstance(raw, dict) else None
    if not isinstance(asks, list) or not asks:
        raise click.UsageError(f"{path} has no list `ask` of questions")
    regions = raw.get("regions") or {}
    sights = [_sight(ask) for ask in asks]
    return [
        _question(path, at, ask, regions, shared=sights.count(_sight(ask)) > 1) for at, ask in enumerate(asks)
    ]


def _sight(ask: Any) -> str:
    """All that a question is shown, to tell whether two are shown the same."""
    if not isinstance(ask, dict):
        return ""
    return repr([ask.get("regions") or [ask.get("region")], ask.get("golden")])


def _question(path: Path, at: int, ask: Any, regions: Any, *, shared: bool) -> Question:
    where = f"{path}: question {at + 1}"
    if not isinstance(ask, dict) or not isinstance(ask.get("question"), str):
        raise click.UsageError(f"{where} has no `question`")
    if ask.get("clip") is not None:
        raise click.UsageError(f"{where} looks at a clip, and engines are compared on pictures: leave it out")
    named = ask.get("regions") or ([ask["region"]] if ask.get("region") is not None else [])
    places = [_region(f"{where}, region {name!r}", regions, name) for name in named] or [WHOLE]
    # As when a recipe runs: words before the picture, but after it where questions share what they look at.
    prompt = Prompt(question=ask["question"]) if shared else Prompt(instruction=ask["question"])
    return Question(
        str(ask.get("id", at + 1)),
        prompt,
        _answer(where, ask.get("answer")),
        places[0],
        tuple(places[1:]),
        _golden(path, where, ask.get("golden")),
    )


def _golden(path: Path, where: str, raw: Any) -> Image | None:
    if raw is None:
        return None
    if not isinstance(raw, dict) or not isinstance(raw.get("file"), str):
        raise click.UsageError(f"{where}: `golden` has no `file`")
    return read_picture(path.parent / raw["file"])


def _region(where: str, regions: Any, name: Any) -> Region:
    box = regions.get(name) if isinstance(regions, Mapping) else None
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(edge, int | float) for edge in box):
        raise click.UsageError(f"{where} is not four numbers under `regions`")
    return (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def _answer(where: str, raw: Any) -> Grammar:
    match raw:
        case {"choice": [*values]} if values:
            return Choice(tuple(str(value) for value in values))
        case {"count": [int(low), int(high)]}:
            return Count(low, high)
        case {"text": str(pattern)}:
            return Text(pattern, int(raw.get("max_length", 64)))
        case {"schema": dict(schema)}:
            return Schema(schema)
        case _:
            raise click.UsageError(
                f"{where}: `answer` must be {{choice: [...]}}, {{count: [min, max]}}, {{text: pattern}} or "
                "{schema: {...}}"
            )


def _lines(names: Sequence[str], found: Sequence[QuestionComparison]) -> list[str]:
    lines = [f"A: {names[0]}", f"B: {names[1]}", ""]
    lines.append(
        f"{'question':<16}{'pictures':>9}{'verdicts':>10}{'tokens':>9}{'confidence':>12}"
        f"{'logits max':>12}{'mean':>9}{'KL':>10}"
    )
    for one in found:
        numbers = "".join(
            f"{'-' if value is None else format(value, '.2e'):>{width}}"
            for value, width in ((one.logit_largest, 12), (one.logit_mean, 9), (one.divergence, 10))
        )
        lines.append(
            f"{one.id:<16}{one.pictures:>9}{one.verdict_agreement:>10.2%}{one.token_agreement:>9.2%}"
            f"{one.confidence_gap:>12.4f}{numbers}"
        )
    for one in found:
        lines += [
            f"  {one.id}, {case.picture}: A {case.first} ({case.first_confidence:.2f}), "
            f"B {case.second} ({case.second_confidence:.2f})"
            for case in one.disagreements
        ]
    return lines
