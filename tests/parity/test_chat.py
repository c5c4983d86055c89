"""Prompts are those of transformers' own chat templates, for templates of both kinds seen in checkpoints."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from lineside.engines.base import Prompt
from lineside.engines.chat import ChatTemplate, PromptWriter, VisionShape
from lineside.engines.config import VisionTokens

pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.parity

SPECIAL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
BODY = """
{%- macro render(content) %}
    {%- if content is string %}
        {{- content }}
    {%- else %}
        {%- for item in content %}
            {%- if 'image' in item or item.type == 'image' %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif 'text' in item %}
                {{- item.text }}
            {%- else %}
                {{- raise_exception('Unexpected item: ' + (item | tojson)) }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
{%- set ns = namespace(count=0) %}
{%- for message in messages %}
    {%- if loop.first and message.role not in ['system', 'user'] %}
        {{- raise_exception('who?') }}
    {%- endif %}
    {%- set ns.count = ns.count + 1 %}
    {{- '<|im_start|>' + message.role + '\\n' + render(message.content) | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if tools %}{{- tools | tojson }}{%- endif %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
"""
THINKS_WHEN_ASKED = (
    BODY
    + """
    {%- if enable_thinking is defined and enable_thinking is true %}
        {{- '<think>\\n' }}
    {%- else %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
)
THINKS_UNLESS_TOLD = (
    BODY
    + """
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- else %}
        {{- '<think>\\n' }}
    {%- endif %}
{%- endif %}
"""
)


def byte_tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    return tokenizer


@pytest.mark.parametrize("template", [THINKS_WHEN_ASKED, THINKS_UNLESS_TOLD])
@pytest.mark.parametrize(
    ("prompt", "pictures"),
    [
        (Prompt("Judge the cap <\"'&>.", "Is it ok?"), 1),
        (Prompt("", "Is it ok?"), 2),
        (Prompt("Judge.", ""), 1),
        (Prompt("Ünïcode. ", " two\nlines\n"), 0),
    ],
)
def test_the_same_tokens(template: str, prompt: Prompt, pictures: int) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = byte_tokenizer()
    reference = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template)
    content: list[dict[str, str]] = [{"type": "image"}] * pictures
    content += [{"type": "text", "text": prompt.question}] if prompt.question else []
    messages: list[dict[str, object]] = [{"role": "user", "content": content}]
    if prompt.instruction:
        messages.insert(0, {"role": "system", "content": prompt.instruction})
    text = reference.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    expanded = text.replace("<|image_pad|>", "<|image_pad|>" * 6)
    tokens = VisionTokens(*(tokenizer.token_to_id(SPECIAL[at]) for at in (4, 5, 2, 3)))

    ours = PromptWriter(ChatTemplate(template), tokenizer, tokens).tokenise(
        prompt, [VisionShape(2, 3)] * pictures
    )

    assert ours.ids.tolist() == reference(expanded, add_special_tokens=False)["input_ids"]
    assert text.endswith("<think>\n\n</think>\n\n")
