"""The values that go into an engine and come out of it, and the engine's interface.

Frozen, without behaviour beyond validation. Nothing here knows a runtime, a file or a factory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB, (height, width, 3), uint8."""

Observer = Callable[[NDArray[np.float32]], None]
"""Is shown logits, [vocabulary], of every place an answer is read from: after the prompt (and what the
grammar forces after it), then of each step. The array is valid during the call only."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames over time, judged as one video input.

    `frames`: (T, height, width, 3) uint8 RGB; `fps`: frames a second of these frames.
    """

    frames: NDArray[np.uint8]
    fps: float


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked. `instruction` (system) and `question` (user, after the images).

    A recipe puts its fixed words into `instruction`: they come before the images, so that
    their states are computed once (prefix snapshot). `raw` sends `question` as it is, without
    the chat template.
    """

    instruction: str = ""
    question: str = ""
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `values`: answered as `{"answer":"value"}`; the whole distribution is known."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """An integer from `minimum` to `maximum`: answered as `{"answer":3}`; the whole distribution is known."""

    minimum: int = 0
    maximum: int = 99


@dataclass(frozen=True, slots=True)
class Text:
    """A string that matches `pattern` (anchored by the engine) of at most `max_length` characters."""

    pattern: str
    max_length: int = 64


@dataclass(frozen=True, slots=True)
class Schema:
    """Any JSON Schema, for prompts of one's own. Confidence is the product along the decisions."""

    schema: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Language:
    """Text in a language of one's own: a regular expression (for the whole answer) or a Lark grammar."""

    source: str
    syntax: Literal["regex", "lark"] = "regex"


@dataclass(frozen=True, slots=True)
class Free:
    """No grammar: text until the end token.

    `cut`: text that does not end within `max_tokens` is given as far as it came, not refused.
    """

    cut: bool = False


Grammar = Choice | Count | Text | Schema | Language | Free


@dataclass(frozen=True, slots=True)
class Decision:
    """One place where the grammar left a choice. Probabilities are renormalised under the grammar.

    `alternatives`: (token text, probability), best first, at most eight, the chosen one included.
    """

    token: str
    probability: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """How many tokens went each way. `prefix` came from a snapshot; `forced` were jumped over."""

    prefix: int
    prompt: int
    image: int
    forced: int
    decided: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds by stage."""

    preprocess: float
    vision: float
    prefill: float
    decode: float
    total: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine said.

    `value`: str for choice and text, int for count, the parsed object for a schema.
    `confidence`: for a choice or a count the probability of `value` among all allowed values;
    for text and schemas the product of the decisions' probabilities.
    `probabilities`: allowed value → probability (choice and count), else empty.
    `runner_up`: the next best whole answer and its probability, where one is known.
    `familiarity`: distance of the pictures from what the engine was trained on over the limit
    stored in the bundle (above 1 is unfamiliar); None where the bundle has no such statistics.
    """

    text: str
    value: object
    confidence: float
    probabilities: Mapping[str, float]
    runner_up: tuple[str, float] | None
    decisions: tuple[Decision, ...]
    token_ids: tuple[int, ...]
    tokens: TokenCounts
    timings: Timings
    familiarity: float | None = None


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an opened engine is, for results, screens and logs.

    `digest`: sha256 of the bundle's manifest, hex. `scope`: for an engine that knows only some
    questions, these questions (instruction texts); None for a general model. `memory_bytes`: weights, and
    states when the context is full; 0 where nobody says. `threads`: cores a call takes; 0: all, or not said.
    """

    name: str
    version: str
    digest: str
    runtime: str
    precision: str
    licence: str
    context_tokens: int
    is_demo: bool = False
    scope: tuple[str, ...] | None = None
    card: Mapping[str, object] = field(default_factory=dict)
    memory_bytes: int = 0
    threads: int = 0


class AnswersQuestions(Protocol):
    """The engine's interface (contract): the same for every runtime."""

    @property
    def info(self) -> EngineInfo: ...

    def answer(
        self,
        images: Sequence[Image | Clip],
        prompt: Prompt,
        grammar: Grammar,
        *,
        max_tokens: int = 256,
    ) -> Answer:
        """One answer. Greedy: same bundle, same images, same answer.

        Raises:
            UnknownQuestion: the engine was not trained for this question or these values.
            PromptTooLong: prompt and images exceed the context.
            UndecodableAnswer: no valid answer within `max_tokens`, or logits that are not finite.
        """
        ...

    def warm(self, prompt: Prompt, grammar: Grammar) -> None:
        """Checks that the question can be asked and prepares it (prefix snapshot, grammar)."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class LooksAhead(Protocol):
    """An engine that can look at pictures in a second thread while a first one has it answer."""

    @property
    def info(self) -> EngineInfo: ...

    def look_ahead(self, images: Sequence[Image | Clip]) -> None:
        """Runs the vision tower on pictures that will be asked about; not for several threads at a time.

        Changes no answer: pictures that were not looked at ahead are looked at when they are asked about.

        Raises:
            BadImage: a picture the engine cannot take.
        """
        ...
