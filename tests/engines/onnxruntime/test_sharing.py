"""Questions that share words, pictures or both: the same answers as on an engine that has seen nothing.

What was read, and how much of it, is told by the token counts; that it changes nothing, by comparing with an
engine that keeps no states and no pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineside.engines.answering.cuts import GRID
from lineside.engines.base import (
    Answer,
    AnswersQuestions,
    Choice,
    Clip,
    Count,
    Free,
    Grammar,
    Image,
    Prompt,
    Schema,
    Text,
)
from lineside.engines.open import Engine

JUDGE = "Judge the part in the picture."
CHOICE = Choice(("ok", "missing", "tilted", "cracked"))
GRAMMARS: list[Grammar] = [
    CHOICE,
    Count(0, 30),
    Text("K[0-9]{3}"),
    Schema(
        {
            "type": "object",
            "properties": {"bad": {"type": "boolean"}},
            "required": ["bad"],
            "additionalProperties": False,
        }
    ),
    Free(cut=True),
]
ORDINARY = [Prompt(JUDGE, f"{words}?") for words in ("Is it ok", "How many", "Read it", "Bad", "Tell")]


def picture(seed: int, height: int = 32, width: int = 40) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def clip(seed: int, frames: int = 6) -> Clip:
    return Clip(np.stack([picture(seed + at, 24, 24) for at in range(frames)]), fps=4.0)


def said(answer: Answer) -> Answer:
    """All but what it cost."""
    return replace(answer, timings=None, tokens=None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cold(bundle: Path) -> Iterator[AnswersQuestions]:
    """An engine that keeps nothing from one question to the next."""
    with Engine.open(bundle, threads=1, snapshot_bytes=0, picture_bytes=0) as opened:
        yield opened


@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda grammar: type(grammar).__name__)
@pytest.mark.parametrize(
    "images",
    [
        [picture(1)],
        [picture(1), picture(2, 16, 48)],
        [clip(3)],
        [picture(1), clip(3)],
        [clip(3), picture(1)],
        [],
    ],
    ids=["picture", "pictures", "clip", "picture-clip", "clip-picture", "words"],
)
def test_a_shared_beginning_changes_no_answer_by_a_bit(
    engine: AnswersQuestions, cold: AnswersQuestions, images: list[Image | Clip], grammar: Grammar
) -> None:
    for prompt in ORDINARY[:3]:
        warm_answer = engine.answer(images, prompt, grammar, max_tokens=40)
        cold_answer = cold.answer(images, prompt, grammar, max_tokens=40)
        assert warm_answer.token_ids == cold_answer.token_ids
        assert warm_answer.probabilities == pytest.approx(cold_answer.probabilities, abs=1e-5)
        # More than was asked for: prompts are read in the same pieces whatever is kept.
        assert said(warm_answer) == said(cold_answer)
        assert cold_answer.tokens.prefix == 0
    assert warm_answer.tokens.prefix > 0


def test_a_second_question_about_a_picture_costs_its_own_words_alone(engine: AnswersQuestions) -> None:
    first = engine.answer([picture(1)], ORDINARY[0], CHOICE).tokens
    second = engine.answer([picture(1)], ORDINARY[1], Count(0, 30)).tokens
    assert (first.prefix, first.image) == (0, 20)
    assert second.image == 0
    assert second.prefix + second.prompt >= first.prompt + first.image - 20
    # `<|vision_end|>`, the question, and how the template ends; no more.
    assert second.prompt < 24
    assert second.prefix > 20


def test_another_picture_shares_the_words_before_it_and_nothing_more(engine: AnswersQuestions) -> None:
    engine.answer([picture(1)], ORDINARY[0], CHOICE)
    other = picture(1)
    other[31, 39, 2] ^= 1  # a single bit of a single pixel
    tokens = engine.answer([other], ORDINARY[0], CHOICE).tokens
    assert tokens.image == 20
    assert 0 < tokens.prefix < tokens.prompt + tokens.image + tokens.prefix


class CountedRuns:
    """Stands before an ONNX Runtime session and counts its runs."""

    def __init__(self, run: object) -> None:
        self.run, self.count = run, 0

    def __call__(self, binding: object) -> None:
        self.count += 1
        self.run(binding)  # type: ignore[operator]


@pytest.fixture
def vision(engine: AnswersQuestions) -> CountedRuns:
    graph = engine._parts.vision  # type: ignore[attr-defined]
    graph._run = counted = CountedRuns(graph._run)
    return counted


def test_recipes_that_look_at_the_same_crop_share_the_vision_pass(
    engine: AnswersQuestions, cold: AnswersQuestions, vision: CountedRuns
) -> None:
    for words in ("Is the cap on straight?", "Count the tablets.", "Read the lot code."):
        answer = engine.answer([picture(5)], Prompt(words), CHOICE)
        assert said(answer) == said(cold.answer([picture(5)], Prompt(words), CHOICE))
    assert vision.count == 1


def test_a_picture_that_comes_twice_in_a_question_is_looked_at_once(
    engine: AnswersQuestions, cold: AnswersQuestions, vision: CountedRuns
) -> None:
    answer = engine.answer([picture(5), picture(5)], ORDINARY[0], CHOICE)
    assert vision.count == 1
    assert answer.tokens.image == 40
    assert said(answer) == said(cold.answer([picture(5), picture(5)], ORDINARY[0], CHOICE))


def test_a_golden_reference_is_looked_at_and_read_once_for_all_parts(
    engine: AnswersQuestions, cold: AnswersQuestions, vision: CountedRuns
) -> None:
    """A golden part beside the part: two pictures in one question, the first always the same."""
    golden = picture(100)
    ask = Prompt("The first picture is a good part. Does the second one look the same?")
    tokens = []
    for seed in range(4):
        answer = engine.answer([golden, picture(seed)], ask, CHOICE)
        assert said(answer) == said(cold.answer([golden, picture(seed)], ask, CHOICE))
        tokens.append(answer.tokens)
    assert vision.count == 1 + 4
    # Read with the first part, kept with the second, from then on only the part itself is read.
    assert [one.image for one in tokens] == [40, 40, 20, 20]


def test_a_part_that_changes_what_surrounds_it_is_never_mistaken(
    engine: AnswersQuestions, cold: AnswersQuestions
) -> None:
    """The same pictures in another order, another number, or as a clip are other prompts."""
    one, two = picture(7, 24, 24), picture(8, 24, 24)
    looks: list[list[Image | Clip]] = [
        [one, two], [two, one], [one], [one, one], [Clip(np.stack([one, two]), 2.0)],
        [Clip(np.stack([one, two]), 1.0)], [Clip(np.stack([two, one]), 2.0)],
    ]  # fmt: skip
    for images in [*looks, *reversed(looks)]:
        answer = engine.answer(images, ORDINARY[0], CHOICE)
        assert said(answer) == said(cold.answer(images, ORDINARY[0], CHOICE))
    found = {tuple(engine.answer(images, ORDINARY[0], CHOICE).probabilities.values()) for images in looks}
    assert len(found) == len(looks)


LONG = "Look at the part with great care, as the plant has written down for all of its lines. " * 4


def test_long_words_that_part_late_are_shared_up_to_where_they_part(
    engine: AnswersQuestions, cold: AnswersQuestions
) -> None:
    prefixes = []
    for ending in ("Is it ok?", "How many?", "Is it straight?"):
        answer = engine.answer([picture(3)], Prompt(LONG + ending), CHOICE)
        assert said(answer) == said(cold.answer([picture(3)], Prompt(LONG + ending), CHOICE))
        prefixes.append(answer.tokens.prefix)
    # The second shows where prompts part, and leaves a state there; the third begins with it.
    assert prefixes[:2] == [0, 0]
    assert prefixes[2] >= GRID
    assert prefixes[2] % GRID == 0


def test_what_does_not_fit_the_budget_is_read_again(bundle: Path, cold: AnswersQuestions) -> None:
    with Engine.open(bundle, threads=1, snapshot_bytes=200_000, picture_bytes=10_000) as small:
        reader = small._parts.reader  # type: ignore[union-attr]
        for seed in (1, 2, 3, 4, 5, 1, 2, 5):
            for prompt in ORDINARY[:2]:
                answer = small.answer([picture(seed)], prompt, CHOICE)
                assert said(answer) == said(cold.answer([picture(seed)], prompt, CHOICE))
                assert reader.tree.size_bytes <= 200_000
                assert small._parts.pictures.size_bytes <= 10_000  # type: ignore[union-attr]
        reader.forget()
        assert small.answer([picture(5)], ORDINARY[0], CHOICE).tokens.prefix == 0


def test_an_answer_that_fails_half_way_leaves_the_next_one_right(
    engine: AnswersQuestions, cold: AnswersQuestions
) -> None:
    engine.answer([picture(1)], ORDINARY[0], CHOICE)
    graph = engine._parts.vision  # type: ignore[attr-defined]
    run = graph._run

    def fails(binding: object) -> None:
        raise RuntimeError("the vision tower failed")

    graph._run = fails
    with pytest.raises(RuntimeError):
        engine.answer([picture(2)], ORDINARY[0], CHOICE)
    graph._run = run
    for seed in (2, 1):
        answer = engine.answer([picture(seed)], ORDINARY[1], CHOICE)
        assert said(answer) == said(cold.answer([picture(seed)], ORDINARY[1], CHOICE))
