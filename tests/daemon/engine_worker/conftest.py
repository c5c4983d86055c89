"""Engine workers over the scripted engine, closed after each test whatever happened in it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for scripted_engine

from lineside.daemon.clock import SystemClock
from lineside.daemon.engine_worker.client import EngineWorker
from lineside.daemon.engine_worker.messages import Ask
from lineside.daemon.engine_worker.restarts import RestartPolicy
from lineside.daemon.engine_worker.settings import WorkerSettings
from lineside.daemon.engine_worker.shift import Patience
from lineside.engines.base import Free, Grammar, Prompt

ANY_TEXT = Free()
LONG_S = 90.0  # a loaded machine may be slow; nothing here waits this long when it works


@pytest.fixture
def open_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., EngineWorker]]:
    """`open_worker(factory="ScriptedEngine", **settings)`: an opened worker, quick to restart."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    opened: list[EngineWorker] = []

    def open_one(factory: str = "ScriptedEngine", **changes: Any) -> EngineWorker:
        settings: dict[str, Any] = {
            "bundle": tmp_path,
            "heartbeat_s": 0.2,
            "slot_bytes": 2**20,
            "patience": Patience(start_s=LONG_S, answer_s=LONG_S, idle_s=LONG_S),
            "restarts": RestartPolicy(first_s=0.01, max_s=0.05, start_attempts=3),
        }
        worker = EngineWorker(
            WorkerSettings(factory=f"scripted_engine:{factory}", **(settings | changes)), SystemClock()
        )
        opened.append(worker)
        worker.open()
        return worker

    yield open_one
    for worker in opened:
        worker.close()


@pytest.fixture
def ask() -> Callable[..., Ask]:
    """`ask("kill", seed=3)`: a question with a picture drawn from the seed."""

    def make(question: str = "look", seed: int = 0, grammar: Grammar = ANY_TEXT, **changes: Any) -> Ask:
        picture = np.random.default_rng(seed).integers(0, 256, (24, 31, 3), np.uint8)
        return Ask((picture,), Prompt("", question), grammar, **changes)

    return make


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """`until(condition)`: waits for it, and fails when it does not come."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + LONG_S
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.01)

    return wait


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process of this id runs (one that died and was not collected does not)."""

    def check(pid: int) -> bool:
        try:
            os.kill(pid, 0)
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (ProcessLookupError, FileNotFoundError):
            return False

    return check
