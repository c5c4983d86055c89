"""Takes asks from the daemon while another one is answered, and has the engine look at their pictures.

One thread, `engine-ahead`, in the engine process; what it took comes out in the order it came. Whatever is
wrong with an ask is left to be found when it is answered. Knows no answers and sends nothing.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue

from lineside.daemon.engine_worker.frames import FrameReader
from lineside.daemon.engine_worker.messages import AskEngine, LookAhead, WarmEngine
from lineside.engines.base import AnswersQuestions, EngineInfo, LooksAhead


def pays(wanted: LookAhead, engine: AnswersQuestions) -> bool:
    """Whether to look ahead: where the engine can, and `auto` only where a core is left to do it on.

    Measured (docs/performance.md): beside an idle core it nearly doubles a one-thread engine's pace; where
    cameras and storage need that core, or the decoder's threads have all of them, it gains nothing.
    """
    if wanted == "off" or not isinstance(engine, LooksAhead):
        return False
    return wanted == "on" or _leaves_a_core(engine.info)


def _leaves_a_core(info: EngineInfo) -> bool:
    # One core for the answer, one for the look, one for everything else that the appliance does.
    return info.runtime == "onnxruntime" and 0 < info.threads <= len(os.sched_getaffinity(0)) - 2


class Inbox:
    """What the daemon sent, looked at ahead of its turn. The daemon bounds how much that is (`in_hand`)."""

    def __init__(self, connection: Connection, engine: LooksAhead, frames: FrameReader) -> None:
        self._connection = connection
        self._engine = engine
        self._frames = frames
        self._taken: SimpleQueue[AskEngine | WarmEngine | Exception] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine-ahead", daemon=True)

    def open(self) -> None:
        """Begins to take asks."""
        self._thread.start()

    def next(self) -> AskEngine | WarmEngine:
        """The next ask in order. Raises what the connection raised: EOFError when the daemon closed it."""
        taken = self._taken.get()
        if isinstance(taken, Exception):
            raise taken
        return taken

    def _run(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except Exception as error:  # noqa: BLE001 - whatever ends the connection ends the main thread's wait
                self._taken.put(error)
                return
            if isinstance(message, AskEngine):
                with suppress(Exception):  # the ask itself will say what is wrong with it
                    self._engine.look_ahead(self._frames.pictures(message))
            self._taken.put(message)
