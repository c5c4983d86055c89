"""The engine process ends with its parent, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lineside.daemon.engine_worker.client import EngineWorker
from lineside.daemon.engine_worker.messages import Ask

_PARENT = """
import sys, time
from pathlib import Path
import numpy as np
from lineside.daemon.clock import SystemClock
from lineside.daemon.engine_worker.client import EngineWorker
from lineside.daemon.engine_worker.messages import Ask
from lineside.daemon.engine_worker.settings import WorkerSettings
from lineside.engines.base import Free, Prompt

settings = WorkerSettings(Path(sys.argv[1]), factory="scripted_engine:ScriptedEngine")
worker = EngineWorker(settings, SystemClock())
worker.open()
worker.wait_until_loaded(90)
if sys.argv[2]:
    worker.submit([Ask((np.zeros((4, 4, 3), np.uint8),), Prompt("", sys.argv[2]), Free())])
Path(sys.argv[3]).write_text(f"{worker.status().pid} ")
time.sleep(3600)
"""


@pytest.mark.parametrize("busy", [False, True])
def test_a_killed_parent_takes_the_engine_process_along(
    tmp_path: Path,
    busy: bool,
    until: Callable[[Callable[[], object]], None],
    alive: Callable[[int], bool],
) -> None:
    mark = tmp_path / "mark"
    question = f"mark and hang:{mark}" if busy else ""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    told = tmp_path / "pid"
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path), question, str(told)], env=environment
    ) as parent:
        try:
            until(lambda: told.exists() and told.read_text().endswith(" "))
            child = int(told.read_text())
            if busy:
                until(mark.exists)
            assert alive(child)
        finally:
            parent.kill()
    until(lambda: not alive(child))


def test_ctrl_c_and_a_service_stop_leave_the_engine_to_its_parent(
    open_worker: Callable[..., EngineWorker], ask: Callable[..., Ask]
) -> None:
    worker = open_worker()
    worker.wait_until_loaded(90)
    pid = worker.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    worker.submit([ask()]).result(90)
    assert worker.status().pid == pid
