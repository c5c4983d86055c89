"""Engines change places while parts come: real engine processes, the demo engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lineside.daemon.clock import SystemClock
from lineside.daemon.engine_seat import EngineRefused, EngineSeat
from lineside.daemon.engine_selftest import selftest_apart
from lineside.daemon.engine_worker.messages import Ask
from lineside.daemon.engine_worker.settings import WorkerSettings, WorkerState
from lineside.engines.base import Answer, Choice, Prompt
from lineside.engines.bundle import amend_bundle, peek_manifest
from lineside.engines.errors import EngineError

DEMO = Path(__file__).parents[2] / "engines" / "demo" / "demo.lsengine"
CHOICE = next(one for one in peek_manifest(DEMO).scope or () if one.kind == "choice")
KNOWN = (Prompt(CHOICE.instruction), Choice(tuple(CHOICE.values)))
LONG_S = 120.0


def settings(bundle: Path) -> WorkerSettings:
    return WorkerSettings(bundle, threads=1)


def ask() -> Ask:
    return Ask((np.full((64, 64, 3), 128, np.uint8),), *KNOWN)


@pytest.fixture
def seat() -> Iterator[EngineSeat]:
    opened = EngineSeat(settings(DEMO), SystemClock())
    opened.open()
    assert opened.wait_until_loaded(LONG_S) is WorkerState.READY
    yield opened
    opened.close()


def test_another_engine_takes_over_and_results_name_the_one_that_answered(
    seat: EngineSeat, tmp_path: Path
) -> None:
    another = tmp_path / "another.lsengine"
    another.write_bytes(DEMO.read_bytes())
    amend_bundle(another, lambda manifest: {"version": "9.0.0"})
    waiting = [seat.submit([ask()]) for _ in range(3)]
    stages: list[str] = []

    seat.switch(settings(another), lambda: [KNOWN], LONG_S, stages.append)

    asked_before = seat.info
    assert asked_before is not None
    assert asked_before.version != "9.0.0"  # this thread's asks went to the engine before
    assert all(isinstance(future.result(LONG_S)[0], Answer) for future in waiting)
    assert isinstance(seat.submit([ask()]).result(LONG_S)[0], Answer)
    assert seat.info is not None
    assert seat.info.version == "9.0.0"
    assert stages == ["loading", "preparing questions", "letting the engine before finish"]


def test_an_engine_that_cannot_be_loaded_or_asked_changes_nothing(seat: EngineSeat, tmp_path: Path) -> None:
    broken = tmp_path / "broken.lsengine"
    broken.write_bytes(b"nothing")
    with pytest.raises(EngineRefused, match="cannot be started"):
        seat.switch(settings(broken), lambda: [KNOWN], LONG_S, lambda stage: None)
    unknown = (Prompt("What is the meaning of life?"), Choice(("a", "b")))
    with pytest.raises(EngineRefused, match="refuses a question"):
        seat.switch(settings(DEMO), lambda: [unknown], LONG_S, lambda stage: None)
    assert isinstance(seat.submit([ask()]).result(LONG_S)[0], Answer)


def test_a_self_test_that_does_not_pass_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.lsengine"
    broken.write_bytes(b"nothing")
    with pytest.raises(EngineError, match=r"did not pass: ."):
        selftest_apart(broken)
    selftest_apart(DEMO)
