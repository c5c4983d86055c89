"""The worker with the real engine: neither the process in between nor its death changes an answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineside.daemon.clock import SystemClock
from lineside.daemon.engine_worker.client import EngineWorker
from lineside.daemon.engine_worker.messages import Ask, EngineProblem, ProblemKind
from lineside.daemon.engine_worker.settings import WorkerSettings, WorkerState
from lineside.engines.base import Answer, Choice, Count, Prompt, Timings
from lineside.engines.open import Engine

LONG_S = 120.0
NO_TIMES = Timings(0, 0, 0, 0, 0)
CAP = Prompt("Is the cap on straight and undamaged?")
ENGINES = Path(__file__).parents[2] / "engines"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random engine of the real architecture."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "checkpoint").mkdir()
    make = (
        "import sys; from pathlib import Path; import tiny_engine; folder = Path(sys.argv[1]);"
        "tiny_engine.build(tiny_engine.write_checkpoint(folder / 'checkpoint', 'moe'), folder / 'engine')"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ENGINES}{os.pathsep}{ENGINES / 'reference'}"}
    subprocess.run([sys.executable, "-c", make, str(folder)], env=environment, check=True)
    return folder / "engine"


@pytest.fixture
def worker(bundle: Path) -> Iterator[EngineWorker]:
    opened = EngineWorker(WorkerSettings(bundle, threads=1), SystemClock())
    opened.open()
    yield opened
    opened.close()


def asks() -> list[Ask]:
    """Choices and counts about pictures of several sizes."""
    random = np.random.default_rng(3)
    pictures = [random.integers(0, 256, (32 + 4 * n, 64, 3), np.uint8) for n in range(4)]
    grammars = (Choice(("ok", "missing", "tilted", "cracked")), Count(0, 9))
    return [Ask((picture,), CAP, grammar) for picture in pictures for grammar in grammars]


def test_answers_are_those_of_the_engine_itself_before_and_after_a_kill(
    bundle: Path, worker: EngineWorker
) -> None:
    engine = Engine.open(bundle, threads=1)
    direct = [engine.answer(ask.images, ask.prompt, ask.grammar) for ask in asks()]
    info = engine.info
    engine.close()
    assert worker.warm(CAP, Choice(("ok", "missing"))).result(LONG_S) is None
    before = worker.submit(asks()).result(LONG_S)
    pid = worker.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    after = worker.submit(asks()).result(LONG_S)
    assert worker.info == info
    for expected, *seen in zip(direct, before, after, strict=True):
        for answer in seen:
            assert isinstance(answer, Answer)
            assert replace(answer, timings=NO_TIMES, tokens=expected.tokens) == replace(
                expected, timings=NO_TIMES
            )


def test_a_bundle_that_fails_its_hashes_is_named_and_nothing_is_answered(
    bundle: Path, tmp_path: Path
) -> None:
    for path in bundle.rglob("*"):
        if path.is_file():
            copy = tmp_path / "engine" / path.relative_to(bundle)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    graph = tmp_path / "engine" / "onnx" / "decoder.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    worker = EngineWorker(WorkerSettings(tmp_path / "engine"), SystemClock())
    worker.open()
    try:
        assert worker.wait_until_loaded(LONG_S) is WorkerState.FAILED
        assert "decoder.onnx" in worker.status().detail
        [outcome] = worker.submit(asks()[:1]).result(LONG_S)
        assert isinstance(outcome, EngineProblem)
        assert outcome.kind is ProblemKind.NOT_LOADED
    finally:
        worker.close()


def test_a_bundle_that_nobody_trusted_signed_is_refused_for_good(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINESIDE_ENGINE_TRUST", str(tmp_path))
    worker = EngineWorker(WorkerSettings(bundle), SystemClock())
    worker.open()
    try:
        assert worker.wait_until_loaded(LONG_S) is WorkerState.FAILED
        assert "UntrustedBundle: tiny is not signed" in worker.status().detail
    finally:
        worker.close()
