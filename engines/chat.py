"""From a prompt and its pictures to the decoder's token inputs, by the checkpoint's own chat template.

Renders the Jinja template in a sandbox as transformers does, writes a clip's time stamps, expands picture
placeholders and places picture tokens. Knows text, token ids and grids; does not know pixels or runtimes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from lineside.engines.base import Prompt
from lineside.engines.config import VisionTokens
from lineside.engines.errors import BadQuestion, IncompatibleBundle
from lineside.engines.positions import Integers, TokenPositions, VisionSpan, token_positions


class _GenerationBlocks(Extension):
    """Passes `{% generation %}` blocks through: templates mark what an assistant said for training."""

    tags = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def parse(self, parser: Parser) -> nodes.Node:
        """Puts the block's body in its place."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_as_it_is"), [], [], body).set_lineno(line)

    def _as_it_is(self, caller: Callable[[], str]) -> str:
        return caller()


def _raise(message: str) -> str:
    raise jinja2.TemplateError(message)


def _no_clock(_format: str) -> str:
    raise jinja2.TemplateError("the template asks for the date, which would make answers depend on the day")


def _to_json(value: object, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


class ChatTemplate:
    """A checkpoint's own chat template, rendered without thinking and with the answer's opening words."""

    def __init__(self, source: str) -> None:
        """
        Raises:
            IncompatibleBundle: the template is not Jinja.
        """
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = _no_clock
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise IncompatibleBundle(f"chat_template.jinja cannot be read: {error}") from error

    def render(self, prompt: Prompt, visions: Sequence[str]) -> str:
        """The prompt's text with one placeholder a vision (`image` or `video`), pictures before the question.

        Raises:
            IncompatibleBundle: the template refuses what it is given.
        """
        content: list[dict[str, str]] = [{"type": kind} for kind in visions]
        if prompt.question:
            content.append({"type": "text", "text": prompt.question})
        messages: list[dict[str, object]] = [{"role": "user", "content": content}]
        if prompt.instruction:
            messages.insert(0, {"role": "system", "content": prompt.instruction})
        try:
            # Named explicitly: checkpoints of this family differ in what they do when it is left out.
            return self._template.render(
                messages=messages, tools=None, add_generation_prompt=True, enable_thinking=False
            )
        except jinja2.TemplateError as error:
            raise IncompatibleBundle(f"the chat template refuses this prompt: {error}") from error


@dataclass(frozen=True, slots=True)
class VisionShape:
    """What a prompt must know of a picture or clip: its merged grid and, for a clip, each slice's time."""

    rows: int
    columns: int
    seconds: tuple[float, ...] = ()

    @property
    def is_clip(self) -> bool:
        """Whether this is a clip rather than a picture."""
        return bool(self.seconds)

    @property
    def slices(self) -> int:
        """How many spans of picture tokens it has."""
        return len(self.seconds) or 1

    @property
    def tokens(self) -> int:
        """How many picture tokens it has in all."""
        return self.slices * self.rows * self.columns


@dataclass(frozen=True, slots=True)
class TokenisedPrompt:
    """The decoder's view of a prompt.

    `ids`, `image_index`: [T]; the index is the row of the picture embeddings (all pictures one after the
    other), −1 for text. `prefix`: how many tokens come before the first picture and so never change with it.
    """

    ids: Integers
    image_index: Integers
    positions: TokenPositions
    prefix: int


class PromptWriter:
    """Writes prompts for one checkpoint: its template, tokenizer and picture tokens."""

    def __init__(self, template: ChatTemplate, tokenizer: Tokenizer, tokens: VisionTokens | None) -> None:
        """`tokens`: None for a checkpoint without a vision tower."""
        self._template = template
        self._tokenizer = tokenizer
        self._tokens = tokens
        if tokens is not None:
            self._image = _spelling(tokenizer, tokens.image)
            self._video = _spelling(tokenizer, tokens.video)
            self._start = _spelling(tokenizer, tokens.start)
            self._end = _spelling(tokenizer, tokens.end)

    def encode(self, text: str) -> list[int]:
        """The token ids of a piece of text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def text(self, prompt: Prompt, visions: Sequence[VisionShape]) -> str:
        """The whole prompt as text, picture placeholders expanded."""
        kinds = ["video" if vision.is_clip else "image" for vision in visions]
        if prompt.raw:
            rendered = prompt.instruction + prompt.question
        else:
            rendered = self._template.render(prompt, kinds)
        return self._expanded(rendered, visions) if self._tokens is not None else rendered

    def tokenise(self, prompt: Prompt, visions: Sequence[VisionShape]) -> TokenisedPrompt:
        """The decoder's inputs for a prompt with these pictures.

        Raises:
            BadQuestion: pictures and placeholders do not match, or there is nothing to read.
            IncompatibleBundle: the template refuses the prompt.
        """
        if visions and self._tokens is None:
            raise BadQuestion("this engine has no vision tower: it takes no pictures")
        ids = np.array(
            self._tokenizer.encode(self.text(prompt, visions), add_special_tokens=False).ids, np.int64
        )
        if not ids.size:
            raise BadQuestion("the prompt is empty")
        image_index = np.full(ids.shape, -1, np.int64)
        spans: list[VisionSpan] = []
        prefix = 0
        if self._tokens is not None:
            where = np.flatnonzero((ids == self._tokens.image) | (ids == self._tokens.video))
            if where.size != sum(vision.tokens for vision in visions):
                raise BadQuestion("the prompt's own words hold picture placeholders: take them out")
            image_index[where] = np.arange(where.size)
            done = 0
            for vision in visions:
                for _ in range(vision.slices):
                    spans.append(VisionSpan(int(where[done]), vision.rows, vision.columns))
                    done += vision.rows * vision.columns
            if spans:
                opening = np.flatnonzero(ids[: spans[0].start] == self._tokens.start)
                # A clip's words of time come before its opening token: they belong to the clip.
                prefix = 0 if visions[0].is_clip else int(opening[-1]) if opening.size else spans[0].start
        return TokenisedPrompt(ids, image_index, token_positions(ids.size, spans), prefix)

    def _expanded(self, text: str, visions: Sequence[VisionShape]) -> str:
        pieces: list[str] = []
        rest = text
        for vision in visions:
            placeholder = self._video if vision.is_clip else self._image
            # A clip's slices open and close by themselves, so the template's own pair around it goes, as in
            # the processor the family was published with; transformers 5 keeps it, two tokens more.
            wrapped = self._start + placeholder + self._end
            target = wrapped if vision.is_clip and wrapped in rest else placeholder
            before, found, rest = rest.partition(target)
            if not found:
                raise BadQuestion(
                    f"the prompt has fewer picture placeholders ({placeholder}) than there are pictures"
                )
            pieces += [before, self._placeholders(vision)]
        return "".join([*pieces, rest])

    def _placeholders(self, vision: VisionShape) -> str:
        if not vision.is_clip:
            return self._image * (vision.rows * vision.columns)
        slice_tokens = self._start + self._video * (vision.rows * vision.columns) + self._end
        return "".join(f"<{seconds:.1f} seconds>{slice_tokens}" for seconds in vision.seconds)


def _spelling(tokenizer: Tokenizer, token: int) -> str:
    spelling = tokenizer.id_to_token(token)
    if spelling is None:
        raise IncompatibleBundle(f"tokenizer.json has no token {token}, which config.json names")
    return str(spelling)
