"""A session on a random engine: its answers are the model's own, however they were computed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from lineside.engines.base import (
    Answer,
    AnswersQuestions,
    Choice,
    Clip,
    Count,
    Free,
    Grammar,
    Prompt,
    Schema,
    Text,
)
from lineside.engines.chat import ChatTemplate, PromptWriter, VisionShape
from lineside.engines.choices import answer_json
from lineside.engines.config import VisionTokens
from lineside.engines.errors import BadImage, BadQuestion, EngineError, PromptTooLong, UndecodableAnswer
from lineside.engines.open import Engine
from lineside.engines.pixels import PatchMaker, read_numbers

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


ENDING = 24  # a picture about which this engine writes a text that ends


def picture(seed: int, height: int = 32, width: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def without_costs(answer: Answer) -> Answer:
    """What must be the same each time: not the times, nor which tokens were kept from before."""
    return replace(answer, timings=None, tokens=None)  # type: ignore[arg-type]


class Oracle:
    """The same model the plainest way: the whole sequence in one call from the empty past."""

    def __init__(
        self, checkpoint: Path, folder: Path, tokenizer: Tokenizer, tokens: VisionTokens, runner: Any
    ) -> None:
        from lineside.engines.build import build_graphs

        self.runner = runner.GraphRunner(build_graphs(checkpoint, folder), capacity=512)
        self.tokenizer = tokenizer
        template = (checkpoint / "chat_template.jinja").read_text()
        self.writer = PromptWriter(ChatTemplate(template), tokenizer, tokens)
        self.patches = PatchMaker(
            read_numbers(json.loads((checkpoint / "preprocessor_config.json").read_text()))
        )

    def logits(self, images: list[np.ndarray | Clip], prompt: Prompt, answer: list[int]) -> np.ndarray:
        """Logits [answer tokens + 1, vocabulary]: before each answer token, and after the last."""
        patches = [self.patches.clip(i) if isinstance(i, Clip) else self.patches.picture(i) for i in images]
        shapes = [VisionShape(one.grid_h // 2, one.grid_w // 2, one.seconds) for one in patches]
        made = self.writer.tokenise(prompt, shapes)
        ids = np.concatenate([made.ids, answer]).astype(np.int64)
        streams = np.concatenate(
            [made.positions.streams, np.tile(np.arange(len(answer)) + made.positions.next, (3, 1))], axis=1
        )
        cos, sin = self.runner.rotary.angles(streams)
        feeds = {
            "input_ids": ids[None],
            "image_embeds": np.concatenate([self.runner.embed_one(one).reshape(-1, 48) for one in patches])
            if patches
            else np.zeros((1, 48), np.float32),
            "image_index": np.concatenate([made.image_index, np.full(len(answer), -1)])[None],
            "rope_cos": cos[None],
            "rope_sin": sin[None],
            "past_length": np.zeros(1, np.int64),
            "logit_positions": np.arange(made.ids.size - 1, ids.size),
            **self.runner.empty_states(),
        }
        return np.asarray(self.runner.decoder.run(["logits"], feeds)[0][0])

    def distribution(
        self, images: list[np.ndarray | Clip], prompt: Prompt, values: tuple[str | int, ...]
    ) -> dict[str, float]:
        """Each value's probability: the allowed tokens renormalised, multiplied along the answer."""
        sequences = [self.tokenizer.encode(answer_json(value)).ids for value in values]
        found: dict[str, float] = {}
        for value, sequence in zip(values, sequences, strict=True):
            logits = self.logits(images, prompt, sequence).astype(np.float64)
            probability = 1.0
            for at, token in enumerate(sequence):
                allowed = sorted({other[at] for other in sequences if other[:at] == sequence[:at]})
                powers = np.exp(logits[at, allowed] - logits[at, allowed].max())
                probability *= powers[allowed.index(token)] / powers.sum()
            found[str(value)] = float(probability)
        return found


@pytest.fixture(scope="module")
def oracle(
    checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: Tokenizer,
    vision_tokens: VisionTokens,
    graph_runner: Any,
) -> Oracle:
    return Oracle(checkpoint, tmp_path_factory.mktemp("oracle"), tokenizer, vision_tokens, graph_runner)


CLIP = Clip(np.stack([picture(seed, 24, 24) for seed in range(5)]), fps=4)


@pytest.mark.parametrize(
    "images", [[picture(1)], [picture(1), picture(2), picture(3, 16, 48)], [CLIP], [picture(1), CLIP]]
)
def test_a_choice_has_the_models_own_distribution(
    engine: AnswersQuestions, oracle: Oracle, images: list[np.ndarray | Clip]
) -> None:
    answer = engine.answer(images, CAP, CHOICE)
    wanted = oracle.distribution(images, CAP, CHOICE.values)
    assert answer.probabilities == pytest.approx(wanted, abs=1e-5)
    best = max(wanted, key=lambda value: wanted[value])
    assert (answer.value, answer.text) == (best, f'{{"answer":"{best}"}}')
    assert answer.confidence == answer.probabilities[best]
    second = sorted(wanted.values())[-2]
    assert answer.runner_up is not None
    assert answer.runner_up[1] == pytest.approx(second, abs=1e-5)


@pytest.mark.parametrize("count", [Count(0, 9), Count(0, 125), Count(-3, 12)])
def test_a_count_has_the_models_own_distribution(
    engine: AnswersQuestions, oracle: Oracle, count: Count
) -> None:
    values = tuple(range(count.minimum, count.maximum + 1))
    answer = engine.answer([picture(4)], Prompt("Count the tablets."), count)
    # The oracle runs a whole sequence a value: look at the ends and at the likely ones.
    likely = sorted(values, key=lambda value: -answer.probabilities[str(value)])[:3]
    wanted = (
        oracle.distribution([picture(4)], Prompt("Count the tablets."), values) if len(values) < 20 else None
    )
    if wanted is not None:
        assert answer.probabilities == pytest.approx(wanted, abs=1e-5)
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert list(answer.probabilities) == [str(value) for value in values]
    assert answer.value == likely[0]
    assert isinstance(answer.value, int)


def test_values_of_several_tokens_are_scored_to_their_end(engine: AnswersQuestions, oracle: Oracle) -> None:
    values = ("ok", "okay", "ok but dusty", "cracked", "crushed", "cracked twice")
    answer = engine.answer([picture(5)], CAP, Choice(values))
    assert answer.probabilities == pytest.approx(oracle.distribution([picture(5)], CAP, values), abs=1e-5)


def test_a_text_is_the_greedy_one_under_its_pattern(
    engine: AnswersQuestions, oracle: Oracle, tokenizer: Tokenizer
) -> None:
    answer = engine.answer([picture(6)], Prompt("Read the lot code."), Text("[KLM][0-9]{3}", 8))
    assert re.fullmatch("[KLM][0-9]{3}", str(answer.value))
    assert answer.text == answer_json(str(answer.value))
    logits = oracle.logits([picture(6)], Prompt("Read the lot code."), list(answer.token_ids))
    at_digits = [i for i, token in enumerate(answer.token_ids) if tokenizer.id_to_token(token).isdigit()]
    digits = [tokenizer.token_to_id(str(digit)) for digit in range(10)]
    confidence = answer.decisions[0].probability
    for at, decision in zip(at_digits, answer.decisions[1:], strict=True):
        row = logits[at, digits].astype(np.float64)
        shares = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        assert decision.token == str(int(shares.argmax()))
        assert decision.probability == pytest.approx(shares.max(), abs=1e-5)
        assert dict(decision.alternatives)["0"] == pytest.approx(shares[0], abs=1e-5) or len(shares) > 8
        confidence *= decision.probability
    assert answer.confidence == pytest.approx(confidence)


def test_the_runner_up_of_a_text_changes_its_least_certain_decision(engine: AnswersQuestions) -> None:
    answer = engine.answer([picture(6)], Prompt("Read the lot code."), Text("[KLM][0-9]{3}", 8))
    assert answer.runner_up is not None
    text, probability = answer.runner_up
    weakest = min(answer.decisions, key=lambda decision: decision.probability)
    assert sum(a != b for a, b in zip(text, str(answer.value), strict=True)) == 1
    share = weakest.alternatives[1][1] / weakest.probability
    assert probability == pytest.approx(answer.confidence * share)


def test_a_schema_gives_its_object(engine: AnswersQuestions) -> None:
    answer = engine.answer([picture(7)], CAP, SCHEMA)
    assert answer.value == json.loads(answer.text)
    assert isinstance(answer.value, dict)
    assert set(answer.value) == {"bad", "where"}
    product = np.prod([decision.probability for decision in answer.decisions])
    assert answer.confidence == pytest.approx(product)


def test_free_text_is_greedy_and_ends_at_an_end_token(
    engine: AnswersQuestions, oracle: Oracle, tokenizer: Tokenizer
) -> None:
    answer = engine.answer([picture(ENDING)], CAP, Free(), max_tokens=40)
    logits = oracle.logits([picture(ENDING)], CAP, list(answer.token_ids))
    best = logits[:, : tokenizer.get_vocab_size()].argmax(axis=1).tolist()
    assert best[:-1] == list(answer.token_ids)
    assert tokenizer.id_to_token(best[-1]) in ("<|endoftext|>", "<|im_end|>")
    assert answer.value == answer.text
    assert len(answer.decisions) == len(answer.token_ids) + 1


GRAMMARS: list[Grammar] = [CHOICE, Count(0, 30), Text("K[0-9]{3}"), SCHEMA]


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_the_same_question_gets_the_same_answer_whatever_came_between(
    engine: AnswersQuestions, grammar: Grammar
) -> None:
    first = without_costs(engine.answer([picture(8)], CAP, grammar))
    for other in GRAMMARS:
        engine.answer([picture(9, 48, 16)], Prompt("Count the tablets."), other)
        engine.answer([], Prompt("", "Hello"), other)
    assert without_costs(engine.answer([picture(8)], CAP, grammar)) == first


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_a_restored_prefix_gives_what_a_cold_run_gives(bundle: Path, grammar: Grammar) -> None:
    warm = Engine.open(bundle, threads=1)
    for prompt in (CAP, Prompt("Count the tablets."), CAP):
        warm.warm(prompt, grammar)
    restored = warm.answer([picture(10)], CAP, grammar)
    # The same words raw, on an engine that has not seen them.
    cold = Engine.open(bundle, threads=1, snapshot_bytes=0)
    whole = (
        "<|im_start|>system\n"
        + CAP.instruction
        + "<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|>"
        "<|vision_end|><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    again = cold.answer([picture(10)], Prompt(question=whole, raw=True), grammar)
    assert restored.token_ids == again.token_ids
    assert (restored.tokens.prefix > 0, again.tokens.prefix) == (True, 0)
    assert restored.confidence == pytest.approx(again.confidence, abs=1e-5)
    assert restored.probabilities == pytest.approx(again.probabilities, abs=1e-5)


def test_a_prefix_cut_off_gives_what_one_run_gives(engine: AnswersQuestions, oracle: Oracle) -> None:
    """The oracle never splits a prompt; the session runs prefix and rest apart."""
    engine.warm(CAP, CHOICE)
    answer = engine.answer([picture(11)], CAP, CHOICE)
    assert answer.tokens.prefix > 10
    assert answer.probabilities == pytest.approx(
        oracle.distribution([picture(11)], CAP, CHOICE.values), abs=1e-5
    )


def test_tokens_are_counted_by_where_they_came_from(engine: AnswersQuestions, tokenizer: Tokenizer) -> None:
    first = engine.answer([picture(11)], CAP, CHOICE).tokens
    answer = engine.answer([picture(12)], CAP, CHOICE)
    counts = answer.tokens
    assert (first.prefix, first.prompt) == (0, counts.prefix + counts.prompt)
    assert counts.image == (32 // 8) * (40 // 8)
    assert counts.decided == len(answer.decisions) == 1
    assert counts.forced + counts.decided == len(answer.token_ids)
    text = "<|im_start|>system\n" + CAP.instruction + "<|im_end|>\n<|im_start|>user\n"
    assert counts.prefix == len(tokenizer.encode(text).ids)
    rest = "<|vision_start|><|vision_end|><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert counts.prompt == len(tokenizer.encode(rest).ids)
    assert answer.timings.total >= answer.timings.prefill > 0


class CountedRuns:
    """Stands before an ONNX Runtime session and counts its runs."""

    def __init__(self, run: Any) -> None:
        self.run, self.count = run, 0

    def __call__(self, binding: Any) -> None:
        self.count += 1
        self.run(binding)


def test_a_one_token_choice_costs_one_vision_and_one_decoder_run(bundle: Path) -> None:
    engine = Engine.open(bundle, threads=1)
    engine.answer([picture(13)], CAP, CHOICE)
    parts = engine._parts  # type: ignore[attr-defined]
    plan = parts.planner.plan(CAP, CHOICE, [VisionShape(4, 5)])
    last = plan.prefill.piece(plan.cuts[-1].at, plan.prefill.tokens)
    last._run = decoder = CountedRuns(last._run)
    parts.vision._run = vision = CountedRuns(parts.vision._run)
    scored: list[object] = []
    parts.generator._score = lambda *given: scored.append(given)
    answer = engine.answer([picture(14)], CAP, CHOICE)
    assert (decoder.count, vision.count, scored) == (1, 1, [])
    assert len(answer.probabilities) == 4


def test_numbers_that_are_not_finite_are_no_answer(bundle: Path) -> None:
    engine = Engine.open(bundle, threads=1)
    engine.answer([picture(13)], CAP, CHOICE)
    parts = engine._parts  # type: ignore[attr-defined]
    plan = parts.planner.plan(CAP, CHOICE, [VisionShape(4, 5)])
    last = plan.prefill.piece(plan.cuts[-1].at, plan.prefill.tokens)
    run = last._run

    def broken(binding: Any) -> None:
        run(binding)
        last._logits[0, 0, 5] = np.nan

    last._run = broken
    with pytest.raises(UndecodableAnswer, match="not finite"):
        engine.answer([picture(13)], CAP, CHOICE)


def test_an_answer_that_does_not_end_is_no_answer(engine: AnswersQuestions) -> None:
    for grammar in (CHOICE, Text("[a-z]{40}"), Free()):
        with pytest.raises(UndecodableAnswer):
            engine.answer([picture(1)], CAP, grammar, max_tokens=2)


def test_a_prompt_beyond_the_context_is_refused(bundle: Path) -> None:
    engine = Engine.open(bundle, threads=1, context_tokens=64)
    with pytest.raises(PromptTooLong, match="context of 64"):
        engine.answer([picture(1, 40, 40)] * 3, CAP, CHOICE)
    with pytest.raises(UndecodableAnswer, match="does not fit the context"):
        engine.answer([], Prompt("", "Hello"), Text("[xq]{64}"))


def test_what_cannot_be_asked_is_refused(engine: AnswersQuestions) -> None:
    with pytest.raises(BadImage):
        engine.answer([np.zeros((4, 4), np.uint8)], CAP, CHOICE)
    with pytest.raises(BadQuestion):
        engine.answer([picture(1)], CAP, Text("[a-"))
    with pytest.raises(BadQuestion):
        engine.warm(CAP, Choice(()))
    with pytest.raises(BadQuestion):
        engine.answer([picture(1)], Prompt("", "look", raw=True), CHOICE)


def test_a_closed_engine_says_so(bundle: Path) -> None:
    engine = Engine.open(bundle, threads=1)
    with engine as opened:
        assert opened is engine
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.answer([], Prompt("", "Hello"), CHOICE)
