"""The engine process: loads one engine, answers asks one after another, and ends with its parent.

Its threads: the main one answers, `engine-heartbeat` says that it lives, and where it pays `engine-ahead`
looks at the next ask's pictures (`inbox`).

Run as `python -m lineside.daemon.engine_worker.child CONNECTION_FD FRAMES_FD PARENT_PID`. Knows nothing of
recipes, queues or restarts: whoever started it decides what a failure means.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import PicklingError
from typing import cast

from lineside.daemon.engine_worker.frames import FrameReader
from lineside.daemon.engine_worker.inbox import Inbox, pays
from lineside.daemon.engine_worker.messages import (
    Alive,
    AskEngine,
    Done,
    EngineProblem,
    FromChild,
    OpenEngine,
    ProblemKind,
    Ready,
    Refused,
    WarmEngine,
)
from lineside.engines.base import Answer, AnswersQuestions, LooksAhead
from lineside.engines.errors import (
    BadImage,
    BadQuestion,
    DamagedBundle,
    EngineError,
    IncompatibleBundle,
    PromptTooLong,
    UndecodableAnswer,
    UnknownQuestion,
    UnsupportedModel,
    UntrustedBundle,
)

PROCESS_NAME = "lineside-engine"  # at most 15 characters: what ps and top show
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15

_PROBLEMS: tuple[tuple[type[EngineError], ProblemKind], ...] = (
    (UnknownQuestion, ProblemKind.UNKNOWN_QUESTION),
    (BadQuestion, ProblemKind.BAD_QUESTION),
    (PromptTooLong, ProblemKind.PROMPT_TOO_LONG),
    (UndecodableAnswer, ProblemKind.UNDECODABLE),
    (BadImage, ProblemKind.BAD_IMAGE),
)


class Outbound:
    """Sends messages to the daemon from several threads, each message whole."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: FromChild) -> None:
        """Raises OSError when the daemon is gone, and what pickle raises for a message that cannot travel."""
        with self._lock:
            self._connection.send(message)


def main(arguments: list[str]) -> int:
    """The process from start to end; gives its exit status."""
    connection_fd, frames_fd, parent = (int(argument) for argument in arguments)
    _settle_in(parent)
    connection: Connection = Connection(connection_fd)
    outbound = Outbound(connection)
    try:
        opening = connection.recv()
        if not isinstance(opening, OpenEngine):
            return 2
        frames = FrameReader(frames_fd, opening.slots, opening.slot_bytes)
        os.close(frames_fd)
        beat = threading.Thread(
            target=_beat, args=(outbound, opening.heartbeat_s), name="engine-heartbeat", daemon=True
        )
        beat.start()
        engine = _open(opening, outbound)
        if engine is None:
            return 1
        take: Callable[[], AskEngine | WarmEngine] = connection.recv
        if isinstance(engine, LooksAhead) and pays(opening.look_ahead, engine):
            inbox = Inbox(connection, engine, frames)
            inbox.open()
            take = inbox.next
        try:
            _answer_asks(take, outbound, engine, frames)
        finally:
            engine.close()
    except (EOFError, OSError):
        # The daemon closed the connection or is gone: that is how this process is told to end.
        return 0
    return 0


def _settle_in(parent: int) -> None:
    """Name, signals, and death with the parent."""
    faulthandler.enable()
    # Ctrl-C and `systemctl stop` reach the whole group: the daemon decides when the engine goes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, PROCESS_NAME.encode())
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        # The parent died before the line above took effect.
        os._exit(0)


def _beat(outbound: Outbound, every_s: float) -> None:
    pause = threading.Event()
    while not pause.wait(every_s):
        try:
            outbound.send(Alive())
        except OSError:
            return


def _open(opening: OpenEngine, outbound: Outbound) -> AnswersQuestions | None:
    try:
        module, _, attribute = opening.factory.partition(":")
        factory: object = importlib.import_module(module)
        for name in attribute.split("."):
            factory = getattr(factory, name)
        make = cast("Callable[..., AnswersQuestions]", factory)
        trust = {} if opening.trust is None else {"trust": opening.trust}
        engine = make(Path(opening.bundle), runtime=opening.runtime, threads=opening.threads, **trust)
        info = replace(engine.info, card=dict(engine.info.card))
    except (DamagedBundle, IncompatibleBundle, UnsupportedModel, UntrustedBundle) as error:
        outbound.send(Refused(f"{type(error).__name__}: {error}", final=True))
        return None
    except Exception as error:  # noqa: BLE001 - whatever a runtime raises while loading is a reason to report
        outbound.send(Refused(f"{type(error).__name__}: {error}", final=False))
        return None
    outbound.send(Ready(info, ahead=pays(opening.look_ahead, engine)))
    return engine


def _answer_asks(
    take: Callable[[], AskEngine | WarmEngine],
    outbound: Outbound,
    engine: AnswersQuestions,
    frames: FrameReader,
) -> None:
    while True:
        message = take()
        outcome = _outcome(engine, frames, message)
        try:
            outbound.send(Done(message.id, outcome))
        except (PicklingError, TypeError, AttributeError) as error:
            # An answer that cannot be pickled is the engine's mistake, not a reason to end.
            problem = EngineProblem(ProblemKind.ENGINE_ERROR, f"the engine's answer cannot be sent: {error}")
            outbound.send(Done(message.id, problem))


def _outcome(
    engine: AnswersQuestions, frames: FrameReader, message: AskEngine | WarmEngine
) -> Answer | EngineProblem | None:
    try:
        if isinstance(message, WarmEngine):
            engine.warm(message.prompt, message.grammar)
            return None
        pictures = frames.pictures(message)
        answer = engine.answer(pictures, message.prompt, message.grammar, max_tokens=message.max_tokens)
        frames.check(message)
        return replace(answer, probabilities=dict(answer.probabilities))
    except EngineError as error:
        for kind_of_error, kind in _PROBLEMS:
            if isinstance(error, kind_of_error):
                return EngineProblem(kind, str(error))
        return EngineProblem(ProblemKind.ENGINE_ERROR, f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - the loop's edge: any failure is an answer to this ask, never silence
        return EngineProblem(ProblemKind.ENGINE_ERROR, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a runtime's own threads and atexit handlers may hang, and nothing is left to save.
    os._exit(status)
