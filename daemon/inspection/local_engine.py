"""An engine in this very process, for commands that judge a few pictures and end.

The daemon never uses it: there the engine has a process of its own that may crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from lineside.daemon.engine_worker.messages import Ask, EngineProblem, ProblemKind
from lineside.engines.base import Answer, AnswersQuestions, EngineInfo
from lineside.engines.errors import BadImage, EngineError, PromptTooLong, UndecodableAnswer, UnknownQuestion

PROBLEMS: tuple[tuple[type[EngineError], ProblemKind], ...] = (
    (UnknownQuestion, ProblemKind.UNKNOWN_QUESTION),
    (PromptTooLong, ProblemKind.PROMPT_TOO_LONG),
    (BadImage, ProblemKind.BAD_IMAGE),
    (UndecodableAnswer, ProblemKind.UNDECODABLE),
)


class LocalEngine:
    """Answers at once, in the caller's thread."""

    def __init__(self, engine: AnswersQuestions) -> None:
        self._engine = engine

    @property
    def info(self) -> EngineInfo:
        """What the engine is."""
        return self._engine.info

    def submit(self, asks: Sequence[Ask]) -> Future[list[Answer | EngineProblem]]:
        """One outcome per ask, in order; the future is done when this returns."""
        future: Future[list[Answer | EngineProblem]] = Future()
        future.set_result([self._answer(ask) for ask in asks])
        return future

    def _answer(self, ask: Ask) -> Answer | EngineProblem:
        try:
            return self._engine.answer(ask.images, ask.prompt, ask.grammar, max_tokens=ask.max_tokens)
        except EngineError as error:
            kind = next(
                (kind for raised, kind in PROBLEMS if isinstance(error, raised)), ProblemKind.ENGINE_ERROR
            )
            return EngineProblem(kind, str(error))
