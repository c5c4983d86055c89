"""Prompts: the template's words, pictures before the question, placeholders expanded, the prefix fixed."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from lineside.engines.base import Prompt
from lineside.engines.chat import ChatTemplate, PromptWriter, VisionShape
from lineside.engines.config import VisionTokens
from lineside.engines.errors import BadQuestion, IncompatibleBundle


@pytest.fixture
def writer(chat_template: str, tokenizer: Tokenizer, vision_tokens: VisionTokens) -> PromptWriter:
    return PromptWriter(ChatTemplate(chat_template), tokenizer, vision_tokens)


def test_instruction_then_pictures_then_question_then_the_empty_thought(writer: PromptWriter) -> None:
    text = writer.text(Prompt("Judge.", "Cracked?"), [VisionShape(1, 2), VisionShape(1, 1)])
    assert text == (
        "<|im_start|>system\nJudge.<|im_end|>\n"
        "<|im_start|>user\n"
        "<|vision_start|><|image_pad|><|image_pad|><|vision_end|>"
        "<|vision_start|><|image_pad|><|vision_end|>"
        "Cracked?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_without_instruction_there_is_no_system_message(writer: PromptWriter) -> None:
    assert writer.text(Prompt("", "Hello"), []).startswith("<|im_start|>user\nHello<|im_end|>\n")


def test_a_clip_is_written_with_the_time_of_each_frame_pair(writer: PromptWriter) -> None:
    text = writer.text(Prompt("", "What moved?"), [VisionShape(1, 2, (0.25, 1.25))])
    pair = "<|vision_start|><|video_pad|><|video_pad|><|vision_end|>"
    assert f"user\n<0.2 seconds>{pair}<1.2 seconds>{pair}What moved?" in text


def test_a_raw_prompt_is_left_as_it_is(writer: PromptWriter) -> None:
    assert writer.text(Prompt("", "a <|image_pad|> b", raw=True), [VisionShape(1, 3)]) == (
        "a <|image_pad|><|image_pad|><|image_pad|> b"
    )


def test_picture_tokens_point_at_the_rows_of_their_embeddings(
    writer: PromptWriter, vision_tokens: VisionTokens
) -> None:
    visions = [VisionShape(2, 3), VisionShape(1, 2, (0.0, 1.0)), VisionShape(1, 1)]
    made = writer.tokenise(Prompt("Judge.", "Cracked?"), visions)
    pictures = np.isin(made.ids, [vision_tokens.image, vision_tokens.video])
    assert made.image_index[pictures].tolist() == list(range(6 + 4 + 1))
    assert (made.image_index[~pictures] == -1).all()
    first = int(np.flatnonzero(pictures)[0])
    assert made.positions.streams[:, first : first + 6].tolist() == [
        [first] * 6,
        [first, first, first, first + 1, first + 1, first + 1],
        [first, first + 1, first + 2, first, first + 1, first + 2],
    ]


def test_the_prefix_ends_before_the_first_picture_and_is_the_same_for_every_question(
    writer: PromptWriter, vision_tokens: VisionTokens
) -> None:
    one = writer.tokenise(Prompt("Judge.", "Cracked?"), [VisionShape(2, 2)])
    other = writer.tokenise(Prompt("Judge.", "How many?"), [VisionShape(4, 1), VisionShape(1, 1)])
    assert one.prefix == other.prefix > 0
    assert one.ids[one.prefix] == vision_tokens.start
    assert one.ids[: one.prefix].tolist() == other.ids[: other.prefix].tolist()


def test_placeholders_in_the_question_are_refused(writer: PromptWriter) -> None:
    with pytest.raises(BadQuestion, match="take them out"):
        writer.tokenise(Prompt("", "what is <|image_pad|>?"), [VisionShape(1, 1)])


def test_a_raw_prompt_without_a_place_for_the_picture_is_refused(writer: PromptWriter) -> None:
    with pytest.raises(BadQuestion, match="fewer picture placeholders"):
        writer.tokenise(Prompt("", "look", raw=True), [VisionShape(1, 1)])


def test_an_empty_prompt_is_refused(writer: PromptWriter) -> None:
    with pytest.raises(BadQuestion, match="empty"):
        writer.tokenise(Prompt("", "", raw=True), [])


def test_a_text_engine_takes_no_pictures(chat_template: str, tokenizer: Tokenizer) -> None:
    writer = PromptWriter(ChatTemplate(chat_template), tokenizer, None)
    assert writer.tokenise(Prompt("", "Hello"), []).prefix == 0
    with pytest.raises(BadQuestion, match="no vision tower"):
        writer.tokenise(Prompt("", "Hello"), [VisionShape(1, 1)])


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('no system message') }}",
        "{{ strftime_now('%Y') }}",
        "{{ messages[0].nothing.more }}",
    ],
)
def test_a_template_that_reaches_out_or_fails_is_refused(source: str) -> None:
    with pytest.raises(IncompatibleBundle, match="template refuses"):
        ChatTemplate(source).render(Prompt("", "x"), [])


def test_a_broken_template_is_refused() -> None:
    with pytest.raises(IncompatibleBundle, match="cannot be read"):
        ChatTemplate("{% if %}")


def test_generation_marks_and_loop_controls_are_understood() -> None:
    block = "{% generation %}{{ m.role | tojson }}{% endgeneration %}{% break %}"
    source = "{% for m in messages %}" + block + "{% endfor %}"
    assert ChatTemplate(source).render(Prompt("a", "b"), []) == '"system"'
