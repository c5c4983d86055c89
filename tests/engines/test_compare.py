"""Comparing engines: an engine agrees with itself wholly, and with another by what was really different."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import PIL.Image
import pytest
import tiny_engine
from click.testing import CliRunner, Result

from lineside.engines.base import Answer, Choice, Count, Free, Image, Prompt, Schema, Text
from lineside.engines.commands import engine as commands
from lineside.engines.commands.compare import read_questions
from lineside.engines.compare import Question, compare_engines, cut, gap, token_agreement
from lineside.engines.errors import UndecodableAnswer
from lineside.engines.open import Engine
from lineside.engines.selftest import Observable

QUESTIONS = [
    Question("cap", Prompt("Is the cap ok?"), Choice(("ok", "cracked", "missing"))),
    Question("code", Prompt("Read the code."), Text("[A-C]{3}"), (0.25, 0.5, 0.75, 1.0)),
    Question("free", Prompt("What is it?"), Free(cut=True)),
]


def pictures(count: int = 3) -> Iterator[tuple[str, Image]]:
    for seed in range(count):
        yield (
            f"{seed}.png",
            np.random.default_rng(seed).integers(0, 256, (32, 40, 3), dtype=np.uint8),
        )


@pytest.fixture(scope="module")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture and tokenizer with other random weights."""
    place = tmp_path_factory.mktemp("other")
    (place / "checkpoint").mkdir()
    return tiny_engine.build(
        tiny_engine.write_checkpoint(place / "checkpoint", "moe", seed=8), place / "engine"
    )


@pytest.fixture
def other(other_bundle: Path) -> Iterator[Observable]:
    with Engine.open(other_bundle, threads=1) as opened:
        yield opened


def test_an_engine_agrees_with_itself_wholly(engine: Observable) -> None:
    for result in compare_engines(engine, engine, pictures(), QUESTIONS, max_tokens=6):
        assert (result.pictures, result.unanswered, result.disagreements) == (3, 0, ())
        assert result.verdict_agreement == result.token_agreement == 1.0
        assert result.confidence_gap == result.logit_largest == result.logit_mean == result.divergence == 0.0


def test_other_weights_are_found_out_question_by_question(engine: Observable, other: Observable) -> None:
    cap, code, free = compare_engines(engine, other, pictures(), QUESTIONS, max_tokens=6)
    assert [one.id for one in (cap, code, free)] == ["cap", "code", "free"]
    assert free.verdict_agreement == 0.0
    assert free.token_agreement < 0.9
    for result in (cap, code, free):
        assert result.logit_largest is not None
        assert result.logit_mean is not None
        assert result.divergence is not None
        assert result.logit_largest > result.logit_mean > 0.01
        assert result.divergence > 1e-4
        assert len(result.disagreements) == round(3 * (1 - result.verdict_agreement))
    case = free.disagreements[0]
    assert case.first != case.second


def test_the_gap_is_that_of_the_formula() -> None:
    first, second = np.array([0.0, 1.0, 3.0], np.float32), np.array([0.5, 1.0, 2.0], np.float32)
    found = gap(first, second)
    assert (found.largest, found.mean) == (1.0, 0.5)
    shares = [np.exp(row) / np.exp(row).sum() for row in (first.astype(float), second.astype(float))]
    assert found.divergence == pytest.approx(float((shares[0] * np.log(shares[0] / shares[1])).sum()))
    assert gap(first, first + 100).divergence == pytest.approx(0.0, abs=1e-9)
    assert gap(first, second * np.float32("nan")).largest == np.inf


def shown(engine: Observable, picture: Image) -> list[np.ndarray]:
    """The logits behind six free tokens about a picture."""
    rows: list[np.ndarray] = []
    engine.answer(
        [picture],
        Prompt("What is it?"),
        Free(cut=True),
        max_tokens=6,
        observe=lambda row: rows.append(row.copy()),
    )
    return rows


def test_logits_are_compared_only_after_the_same_tokens(engine: Observable, other: Observable) -> None:
    """After the first different token both engines read different texts: their logits say nothing."""
    seen: list[int] = []
    names = [name for name, _ in pictures()]
    for name, picture in pictures():
        tokens = []
        for one in (engine, other):
            answer = one.answer([picture], Prompt("What is it?"), Free(cut=True), max_tokens=6)
            tokens.append(answer.token_ids)
        same = next((at for at, pair in enumerate(zip(*tokens, strict=False)) if pair[0] != pair[1]), 6)
        seen.append(same)
        rows = list(zip(shown(engine, picture), shown(other, picture), strict=False))
        largest = max(gap(a, b).largest for a, b in rows[: same + 1])
        (result,) = compare_engines(engine, other, [(name, picture)], QUESTIONS[2:], max_tokens=6)
        assert result.logit_largest == pytest.approx(largest)
    assert len(seen) == len(names)
    assert min(seen) < 5


def test_no_answer_is_disagreement(engine: Observable) -> None:
    class Silent:
        def answer(self, *_: object, **__: object) -> Answer:
            raise UndecodableAnswer("nothing")

    (result,) = compare_engines(engine, Silent(), pictures(2), QUESTIONS[:1])
    assert (result.unanswered, result.verdict_agreement, result.token_agreement) == (2, 0.0, 0.0)
    assert result.disagreements[0].second == "no answer"
    assert result.logit_largest is None


def test_tokens_agree_by_place_of_the_longer_answer() -> None:
    assert token_agreement((1, 2, 3, 4), (1, 9, 3)) == 0.5
    assert token_agreement((), ()) == 1.0
    assert token_agreement((), (1,)) == 0.0


def test_a_region_is_cut_and_never_empty() -> None:
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    assert np.array_equal(cut(picture, (0.0, 0.0, 1.0, 1.0)), picture)
    assert np.array_equal(cut(picture, (0.5, 0.25, 1.0, 0.75)), picture[1:3, 3:6])
    assert cut(picture, (1.0, 1.0, 1.0, 1.0)).shape == (1, 1, 3)
    assert cut(picture, (-1.0, -1.0, 9.0, 9.0)).shape == picture.shape


def test_a_recipe_is_a_file_of_questions(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        """
        recipe: cap-check
        regions: {cap: [0.1, 0.2, 0.5, 0.6]}
        ask:
          - {id: cap, region: cap, question: Is it ok?, answer: {choice: [ok, "no"]}, fail_when: ["no"]}
          - {question: How many?, answer: {count: [0, 7]}, expect: {equals: 5}}
          - {id: lot, question: Read it., answer: {text: "L[0-9]+", max_length: 9}}
          - {id: all, question: All?, answer: {schema: {type: boolean}}}
        """
    )
    assert read_questions(path) == [
        Question("cap", Prompt("Is it ok?"), Choice(("ok", "no")), (0.1, 0.2, 0.5, 0.6)),
        # Three look at the whole picture, and so come after it.
        Question("2", Prompt(question="How many?"), Count(0, 7)),
        Question("lot", Prompt(question="Read it."), Text("L[0-9]+", 9)),
        Question("all", Prompt(question="All?"), Schema({"type": "boolean"})),
    ]


def test_a_recipes_questions_are_shown_what_the_recipe_shows_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    golden = rng.integers(0, 256, (8, 6, 3), np.uint8)
    PIL.Image.fromarray(golden).save(tmp_path / "golden.png")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        """
        regions: {left: [0, 0, 0.5, 1], right: [0.5, 0, 1, 1]}
        ask:
          - {id: alike, regions: [right, left], question: Alike?, answer: {choice: [ok, no]}}
          - {id: same, region: left, golden: {file: golden.png}, question: Same?, answer: {choice: [ok, no]}}
          - {id: cap, region: right, question: Cap?, answer: {choice: [ok, no]}}
          - {id: crack, region: right, question: Crack?, answer: {choice: [ok, no]}}
        """
    )
    picture = rng.integers(0, 256, (10, 20, 3), np.uint8)
    alike, same, cap, crack = read_questions(path)

    assert [crop.tolist() for crop in alike.shown(picture)] == [
        picture[:, 10:].tolist(),
        picture[:, :10].tolist(),
    ]
    assert [crop.tolist() for crop in same.shown(picture)] == [golden.tolist(), picture[:, :10].tolist()]
    assert [one.prompt for one in (alike, cap, crack)] == [
        Prompt("Alike?"),
        Prompt(question="Cap?"),
        Prompt(question="Crack?"),
    ]


def test_a_question_about_a_clip_is_not_compared_on_pictures(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("ask: [{question: Moves?, clip: {frames: 8}, answer: {choice: [ok, no]}}]")

    with pytest.raises(click.UsageError, match="looks at a clip"):
        read_questions(path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, pixels in pictures():
        PIL.Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_the_command_prints_a_table_and_json(bundle: Path, photos: Path) -> None:
    ask = ["compare", bundle, bundle, "--images", photos, "--instruction", "Ok?", "--choice", "a,b"]
    said = json.loads(run(*ask, "--json").output)
    assert (said["verdict_agreement"], said["passed"]) == (1.0, True)
    assert said["questions"][0]["pictures"] == 3
    shown = run(*ask)
    assert shown.exit_code == 0
    assert "100.00%" in shown.output


def test_the_command_ends_with_1_below_the_wanted_agreement(
    bundle: Path, other_bundle: Path, photos: Path
) -> None:
    ask = ["compare", bundle, other_bundle, "--images", photos, "--prompt", "What?", "--max-tokens", "6"]
    below = run(*ask, "--min-agreement", "0.99")
    assert below.exit_code == 1
    assert "99.00% were asked for" in below.output
    assert "question, 0.png: A " in below.output
    assert run(*ask).exit_code == 0


def test_a_narrow_engine_is_asked_what_it_knows(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    scope = [
        {"id": "cap", "instruction": "Is the cap on?", "kind": "choice", "values": ["ok", "missing"]},
        {"id": "code", "instruction": "Read it.", "kind": "text", "pattern": "^K[0-9]$"},
    ]
    path = tiny_engine.build(checkpoint, tmp_path / "narrow", scope=scope)
    said = json.loads(run("compare", path, path, "--images", photos / "0.png", "--json").output)
    assert [one["id"] for one in said["questions"]] == ["cap", "code"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("ask: [", "cannot be read"),
        ("ask: []", "no list `ask`"),
        ("- a", "no list `ask`"),
        ("ask: [{answer: {choice: [a]}}]", "question 1 has no `question`"),
        ("ask: [{question: a, answer: {choose: [a]}}]", "`answer` must be"),
        ("ask: [{question: a, region: b, answer: {choice: [a]}}]", "region 'b' is not four numbers"),
    ],
)
def test_questions_that_cannot_be_read_are_wrong_usage(
    bundle: Path, photos: Path, tmp_path: Path, content: str, says: str
) -> None:
    (tmp_path / "q.yaml").write_text(content)
    result = run("compare", bundle, bundle, "--images", photos, "--questions", tmp_path / "q.yaml")
    assert result.exit_code == 2
    assert says in result.output


def test_nothing_asked_or_nothing_to_look_at_is_wrong_usage(
    bundle: Path, photos: Path, tmp_path: Path
) -> None:
    assert "say what is asked" in run("compare", bundle, bundle, "--images", photos).output
    empty = tmp_path / "empty"
    empty.mkdir()
    ask = ["compare", bundle, bundle, "--prompt", "What?", "--images"]
    assert "names no pictures" in run(*ask, empty).output
    assert run(*ask, photos / "notes.txt").exit_code == 2
