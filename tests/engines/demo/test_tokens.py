"""The tokenizer: words and skeleton are one token each, codes single characters, and all text comes back."""

from __future__ import annotations

from pathlib import Path

import jinja2
import llguidance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lineside.engines.demo.questions import CAP, CODE, QUESTIONS, answer_json
from lineside.engines.demo.tokens import (
    CHAT_TEMPLATE,
    SPECIAL,
    build_tokenizer,
    prompt_ids,
    prompt_text,
    save_tokenizer,
    special_id,
    token_id,
)
from lineside.engines.demo.truth import CODE_LETTERS

TOKENIZER = build_tokenizer()


def tokens(text: str) -> list[str]:
    return list(TOKENIZER.encode(text, add_special_tokens=False).tokens)


@pytest.mark.parametrize("word", ['{"', "answer", '":"', '":', '"}', "}", *CAP.choices, *"0123456", *SPECIAL])
def test_skeleton_choices_and_counts_are_single_tokens(word: str) -> None:
    assert TOKENIZER.decode([token_id(TOKENIZER, word)], skip_special_tokens=False) == word


def test_a_text_of_several_tokens_is_not_taken_for_one() -> None:
    with pytest.raises(ValueError, match="not one"):
        token_id(TOKENIZER, "K48217")
    with pytest.raises(ValueError, match="has no"):
        special_id(TOKENIZER, "<|tool|>")


def test_question_words_are_single_tokens() -> None:
    for question in QUESTIONS:
        words = question.text.replace(",", " ,").replace(".", " .").replace("?", " ?").split()
        assert len(tokens(question.text)) == len(words)


@settings(deadline=None)
@given(st.sampled_from(CODE_LETTERS), st.text("0123456789", min_size=5, max_size=5))
def test_codes_are_read_character_by_character(letter: str, digits: str) -> None:
    assert tokens(answer_json(letter + digits)) == ['{"', "answer", '":"', letter, *digits, '"}']


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    special = set(range(TOKENIZER.get_vocab_size() - len(SPECIAL), TOKENIZER.get_vocab_size()))

    if not special & set(ids):
        assert TOKENIZER.decode(ids) == text


def test_building_twice_gives_the_same_tokenizer() -> None:
    assert build_tokenizer().to_str() == TOKENIZER.to_str()
    assert TOKENIZER.get_vocab_size() <= 512


def test_what_is_saved_loads_in_both_libraries(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)

    loaded = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    guided = llguidance.LLTokenizer(
        (tmp_path / "tokenizer.json").read_text(), eos_token=special_id(loaded, "<|im_end|>")
    )

    assert loaded.to_str() == TOKENIZER.to_str()
    assert guided.vocab_size == TOKENIZER.get_vocab_size()
    assert guided.tokenize_str(answer_json("K48217")) == TOKENIZER.encode(answer_json("K48217")).ids


def test_the_template_renders_the_prompt_that_training_used() -> None:
    template = jinja2.Environment().from_string(CHAT_TEMPLATE)
    for question in QUESTIONS:
        messages = [
            {"role": "system", "content": question.text},
            {"role": "user", "content": [{"type": "image"}]},
        ]
        rendered = template.render(messages=messages, add_generation_prompt=True, enable_thinking=False)
        assert rendered == prompt_text(question, image_tokens=1)


def test_thinking_is_left_open_when_asked_for() -> None:
    template = jinja2.Environment().from_string(CHAT_TEMPLATE)

    rendered = template.render(messages=[], add_generation_prompt=True, enable_thinking=True)

    assert rendered.endswith("<think>\n")


def test_prompts_hold_sixteen_image_tokens() -> None:
    pad = special_id(TOKENIZER, "<|image_pad|>")

    assert [prompt_ids(TOKENIZER, q).count(pad) for q in QUESTIONS] == [16, 16, 16]
    assert CODE.decisions() == 6
