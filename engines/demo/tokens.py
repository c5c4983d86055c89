"""The demo engine's own small tokenizer and chat template.

A byte-level BPE fitted to exactly the words in use: every word of a question, every choice and every piece
of the JSON skeleton is one token, while capitals and digits in codes stay single characters, because no code
is in the corpus. Does not know models.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lineside.engines.demo.questions import QUESTIONS, DemoQuestion, answer_json
from lineside.engines.demo.truth import CAP_CLASSES

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<think>",
    "</think>",
)
IMAGE_TOKENS = 16
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}
{{- message.content }}
{%- else %}
{%- for item in message.content %}
{%- if item.type == 'image' %}
{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif item.type == 'text' %}
{{- item.text }}
{%- else %}
{{- raise_exception('The demo engine reads images and text only.') }}
{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is true %}
{{- '<think>\\n' }}
{%- else %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
{%- endif %}
"""


def _corpus() -> list[str]:
    words = ["system", "user", "assistant"]
    skeletons = [answer_json(choice) for choice in CAP_CLASSES] + [answer_json(0)]
    return words + [question.text for question in QUESTIONS] + skeletons


def build_tokenizer() -> Tokenizer:
    """Fit the tokenizer; the same corpus always gives the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    return tokenizer


def prompt_text(question: DemoQuestion, image_tokens: int = IMAGE_TOKENS) -> str:
    """The chat template's text for one question and one picture, its placeholder repeated."""
    return (
        f"<|im_start|>system\n{question.text}<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        + "<|image_pad|>" * image_tokens
        + "<|vision_end|><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def prompt_ids(tokenizer: Tokenizer, question: DemoQuestion) -> list[int]:
    """The tokens of one question and one picture."""
    return list(tokenizer.encode(prompt_text(question), add_special_tokens=False).ids)


def special_id(tokenizer: Tokenizer, text: str) -> int:
    """The id of a special token."""
    found = tokenizer.token_to_id(text)
    if found is None:
        raise ValueError(f"the tokenizer has no {text}")
    return int(found)


def token_id(tokenizer: Tokenizer, text: str) -> int:
    """The id of a text that must be exactly one token."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    if len(ids) != 1:
        raise ValueError(f"{text!r} is {len(ids)} tokens, not one")
    return int(ids[0])


def save_tokenizer(folder: Path) -> Tokenizer:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    tokenizer = build_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return tokenizer
