"""An engine for tests that does what its question says: it is loaded into the engine process by its name.

Its answers name the pictures it was shown (a digest), so that a test can tell whose picture was judged.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from lineside.engines.base import Answer, Clip, EngineInfo, Grammar, Image, Prompt, Timings, TokenCounts
from lineside.engines.errors import (
    BadQuestion,
    DamagedBundle,
    PromptTooLong,
    UndecodableAnswer,
    UnknownQuestion,
)


def digest(images: Sequence[Image | Clip]) -> str:
    """What the engine answers about pictures unless told otherwise."""
    whole = hashlib.sha256()
    for image in images:
        array = image.frames if isinstance(image, Clip) else image
        whole.update(repr((array.shape, image.fps if isinstance(image, Clip) else None)).encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


class ScriptedEngine:
    """The question is `word` or `word:argument`; see `_act`."""

    def __init__(self, bundle: Path, *, runtime: str, threads: int | None) -> None:
        self._bundle = bundle
        self._warmed: list[str] = []
        card = MappingProxyType({"runtime": runtime, "threads": threads})
        self.info = EngineInfo("scripted", "1", "d" * 64, "none", "fp32", "Apache-2.0", 512, card=card)

    def answer(
        self, images: Sequence[Image | Clip], prompt: Prompt, grammar: Grammar, *, max_tokens: int = 256
    ) -> Answer:
        """A plain answer, or whatever the question asks for instead."""
        value: object = digest(images)
        word, _, argument = prompt.question.partition(":")
        if word == "warmed":
            value = ",".join(self._warmed)
        if word == "say":
            value = argument
        answer = Answer(
            text=str(value),
            value=value,
            confidence=0.9,
            probabilities=MappingProxyType({}),
            runner_up=None,
            decisions=(),
            token_ids=(max_tokens,),
            tokens=TokenCounts(0, 0, 0, 0, 0),
            timings=Timings(0.0, 0.0, 0.0, 0.0, 0.0),
        )
        if word == "nan":
            return replace(answer, confidence=float("nan"))
        if word == "unpicklable":
            return replace(answer, value=lambda: None)
        _act(word, argument)
        return answer

    def warm(self, prompt: Prompt, grammar: Grammar) -> None:
        """Remembers the question, or does what it says."""
        word, _, argument = prompt.question.partition(":")
        _act(word, argument)
        self._warmed.append(prompt.question)

    def close(self) -> None:
        """Leaves a mark where the bundle is, if that is a folder."""
        if self._bundle.is_dir():
            (self._bundle / "closed").touch()


def _act(word: str, argument: str) -> None:
    match word:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill once":  # the argument names a file that remembers
            if not Path(argument).exists():
                Path(argument).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        case "kill unless":  # the argument names a file
            if not Path(argument).exists():
                os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep":
            time.sleep(float(argument))
        case "mark and hang":
            Path(argument).touch()
            time.sleep(3600)
        case "print":
            print(argument, flush=True)
            print(argument, file=sys.stderr, flush=True)
        case "break":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        case "unknown":
            raise UnknownQuestion("not trained for this")
        case "bad":
            raise BadQuestion("no value is allowed")
        case "long":
            raise PromptTooLong("too long")
        case "undecodable":
            raise UndecodableAnswer("logits are not finite")
        case _:
            return


def damaged(bundle: Path, *, runtime: str, threads: int | None) -> ScriptedEngine:
    """A bundle whose hashes do not fit."""
    raise DamagedBundle("onnx/decoder.onnx differs from the manifest")


def mended(bundle: Path, *, runtime: str, threads: int | None) -> ScriptedEngine:
    """Fails with a passing error until the file `bundle` exists."""
    if not bundle.exists():
        raise MemoryError("no GPU memory left")
    return ScriptedEngine(bundle, runtime=runtime, threads=threads)


def dies_loading(bundle: Path, *, runtime: str, threads: int | None) -> ScriptedEngine:
    """Never gets as far as saying why."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


def hangs_loading(bundle: Path, *, runtime: str, threads: int | None) -> ScriptedEngine:
    """Loads for ever, with a heart that beats."""
    time.sleep(3600)
    raise AssertionError("not reached")


def another_every_time(bundle: Path, *, runtime: str, threads: int | None) -> ScriptedEngine:
    """An engine whose bundle was exchanged between two starts."""
    engine = ScriptedEngine(bundle, runtime=runtime, threads=threads)
    engine.info = replace(engine.info, digest=str(os.getpid()))
    return engine


class AheadEngine(ScriptedEngine):
    """Can look ahead, and says in its answer whose pictures it had looked at by then.

    A picture that begins with the pixel (1, 2, 3) ends the process as soon as it is looked at.
    """

    def __init__(self, bundle: Path, *, runtime: str, threads: int | None) -> None:
        super().__init__(bundle, runtime=runtime, threads=threads)
        self.info = replace(self.info, runtime="onnxruntime", threads=threads or 0)
        self._ahead = threading.Condition()
        self._looked: list[str] = []

    def look_ahead(self, images: Sequence[Image | Clip]) -> None:
        """Remembers the pictures, or dies of them, or fails."""
        if any(not isinstance(image, Clip) and image[0, 0].tolist() == [1, 2, 3] for image in images):
            os.kill(os.getpid(), signal.SIGKILL)
        with self._ahead:
            self._looked.append(digest(images))
            self._ahead.notify_all()
        raise RuntimeError("whatever goes wrong ahead is for the ask itself to say")

    def answer(
        self, images: Sequence[Image | Clip], prompt: Prompt, grammar: Grammar, *, max_tokens: int = 256
    ) -> Answer:
        """`wait for looks:N` answers once N pictures were looked at, and says the N."""
        word, _, argument = prompt.question.partition(":")
        answer = super().answer(images, prompt, grammar, max_tokens=max_tokens)
        if word != "wait for looks":
            return answer
        with self._ahead:
            seen = self._ahead.wait_for(lambda: len(self._looked) >= int(argument), timeout=20)
            return replace(answer, value=str(len(self._looked)) if seen else "waited in vain")
