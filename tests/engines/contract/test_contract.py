"""What every runtime must do alike: the same bundle, pictures and question give the same answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from runtime_choices import Choice as RuntimeChoice

from lineside.engines.answering.session import EngineSession
from lineside.engines.base import Answer, Choice, Clip, Count, Free, Grammar, Image, Prompt, Schema, Text
from lineside.engines.errors import BadImage, BadQuestion, EngineError, PromptTooLong, UndecodableAnswer

CAP = Prompt("Is the cap on straight and undamaged?")
CHOICE = Choice(("ok", "missing", "tilted", "cracked"))
SCHEMA = Schema(
    {
        "type": "object",
        "properties": {"bad": {"type": "boolean"}, "where": {"enum": ["left", "right"]}},
        "required": ["bad", "where"],
        "additionalProperties": False,
    }
)
GRAMMARS: list[Grammar] = [CHOICE, Count(0, 30), Text("K[0-9]{3}"), SCHEMA, Free(cut=True)]
# Values that begin alike and part later: scored in several rows and over several tokens.
ALIKE = Choice(("part a ok", "part a bad", "part b ok", "part b bad", "part c"))


def picture(seed: int, height: int = 32, width: int = 40) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def clip(seed: int) -> Clip:
    return Clip(np.stack([picture(seed + at) for at in range(6)]), fps=4.0)


def said(answer: Answer) -> Answer:
    """All but what it cost."""
    return replace(answer, timings=None, tokens=None)  # type: ignore[arg-type]


def alike(one: Answer, other: Answer, tolerance: float) -> None:
    assert one.probabilities == pytest.approx(other.probabilities, abs=tolerance)
    if tolerance < 1e-4:
        assert (one.text, one.value, one.token_ids) == (other.text, other.value, other.token_ids)
        assert one.confidence == pytest.approx(other.confidence, abs=tolerance)


@pytest.mark.parametrize("grammar", [*GRAMMARS, ALIKE], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("seed", [1, 2])
def test_answers_are_those_of_the_reference(
    engine: EngineSession, reference: EngineSession, choice: RuntimeChoice, grammar: Grammar, seed: int
) -> None:
    both = [one.answer([picture(seed)], CAP, grammar, max_tokens=40) for one in (engine, reference)]
    alike(*both, choice.tolerance)


def test_several_pictures_a_clip_and_words_alone(
    engine: EngineSession, reference: EngineSession, choice: RuntimeChoice
) -> None:
    asked: list[tuple[list[Image | Clip], Prompt]] = [
        ([picture(3), picture(4)], Prompt("Compare.", "Is the second like the first?")),
        ([clip(5)], CAP),
        ([], Prompt("", "Hello")),
    ]
    for images, prompt in asked:
        alike(*(one.answer(images, prompt, CHOICE) for one in (engine, reference)), choice.tolerance)


@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda one: type(one).__name__)
def test_the_same_question_gets_the_same_answer_whatever_came_between(
    engine: EngineSession, grammar: Grammar
) -> None:
    first = said(engine.answer([picture(8)], CAP, grammar, max_tokens=40))
    for other in GRAMMARS:
        engine.answer([picture(9)], Prompt("Count the tablets."), other, max_tokens=40)
        engine.answer([], Prompt("", "Hello"), other, max_tokens=40)
    assert said(engine.answer([picture(8)], CAP, grammar, max_tokens=40)) == first


def test_a_question_that_comes_often_keeps_its_answer(engine: EngineSession) -> None:
    """Also when the runtime has begun to replay captured work."""
    text = Text("[A-Z]{3}[0-9]{4}")
    prompt = Prompt("Read the code on the label.")
    answers = [said(engine.answer([picture(10)], prompt, text)) for _ in range(6)]
    assert all(answer == answers[0] for answer in answers)


def test_a_restored_prefix_gives_what_reading_it_again_gives(opened: Callable[..., EngineSession]) -> None:
    warm, cold = opened(), opened(snapshot_bytes=0, picture_bytes=0)
    warm.warm(CAP, CHOICE)
    questions = [Prompt(CAP.instruction, words) for words in ("Is it ok?", "How many?", "Is it ok now?")]
    for prompt in (*questions, questions[0]):
        restored, again = (one.answer([picture(11)], prompt, CHOICE) for one in (warm, cold))
        assert said(restored) == said(again)
        assert (restored.tokens.prefix > 0, again.tokens.prefix) == (True, 0)


def test_snapshots_stay_within_their_memory(opened: Callable[..., EngineSession]) -> None:
    small, cold = opened(snapshot_bytes=60_000), opened(snapshot_bytes=0)
    for turn in range(3):
        for words in range(4):
            prompt = Prompt(f"{'Look well at it. ' * words} Judge part {words}.")
            both = [one.answer([picture(turn)], prompt, CHOICE) for one in (small, cold)]
            assert said(both[0]) == said(both[1])


def test_logits_can_be_seen_and_are_valid_during_the_call(
    engine: EngineSession, reference: EngineSession, choice: RuntimeChoice
) -> None:
    seen: list[list[np.ndarray]] = []
    for one in (engine, reference):
        seen.append([])
        one.answer(
            [picture(12)], CAP, Text("[A-Z]{5}"), observe=lambda logits: seen[-1].append(logits.copy())
        )
    assert len(seen[0]) == len(seen[1]) >= 5
    for here, there in zip(*seen, strict=True):
        assert here.dtype == np.float32
        assert np.abs(here - there).max() <= choice.logits * np.abs(there).max()


def test_what_cannot_be_asked_is_refused_and_harms_nothing(engine: EngineSession) -> None:
    before = said(engine.answer([picture(13)], CAP, CHOICE))
    with pytest.raises(BadImage):
        engine.answer([np.zeros((4, 4), np.uint8)], CAP, CHOICE)
    with pytest.raises(BadQuestion):
        engine.answer([picture(1)], CAP, Text("[a-"))
    with pytest.raises(UndecodableAnswer):
        engine.answer([picture(1)], CAP, Text("[a-z]{40}"), max_tokens=2)
    assert said(engine.answer([picture(13)], CAP, CHOICE)) == before


def test_a_prompt_beyond_the_context_is_refused(opened: Callable[..., EngineSession]) -> None:
    short = opened(context_tokens=64)
    with pytest.raises(PromptTooLong, match="context of"):
        short.answer([picture(1)] * 30, Prompt("Look at it well. " * 40), CHOICE)


def test_a_closed_engine_says_so(opened: Callable[..., EngineSession]) -> None:
    session = opened()
    session.answer([picture(1)], CAP, CHOICE)
    session.close()
    session.close()
    with pytest.raises(EngineError, match="closed"):
        session.answer([], Prompt("", "Hello"), CHOICE)
