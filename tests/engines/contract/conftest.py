"""The contract's tests run once on each runtime; those that this machine has not say so and are skipped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_engine

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tensorrt"))

from runtime_choices import CHOICES, Choice

from lineside.engines.answering.session import EngineSession
from lineside.engines.open import Engine

Opener = Callable[..., EngineSession]


@pytest.fixture(scope="module", params=CHOICES, ids=lambda choice: choice.name)
def choice(request: pytest.FixtureRequest) -> Choice:
    """One runtime."""
    found: Choice = request.param
    return found


@pytest.fixture(scope="session")
def dense_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random engine without experts."""
    checkpoint = tiny_engine.write_checkpoint(tmp_path_factory.mktemp("dense"), "dense")
    return tiny_engine.build(checkpoint, tmp_path_factory.mktemp("bundle") / "engine")


@pytest.fixture(scope="module")
def asked(choice: Choice, bundle: Path, dense_bundle: Path) -> Path:
    """The bundle that the runtime is asked."""
    return dense_bundle if choice.dense else bundle


@pytest.fixture(scope="module")
def opened(choice: Choice, asked: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opener]:
    """Opens the bundle on the runtime; everything opened is closed at the end."""
    sessions: list[EngineSession] = []
    folder = tmp_path_factory.mktemp(choice.name)

    def make(**options: object) -> EngineSession:
        sessions.append(choice.open(asked, folder, **options))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


@pytest.fixture(scope="module")
def engine(opened: Opener) -> EngineSession:
    """One session for all tests of a runtime: nothing that was asked before may matter."""
    return opened()


@pytest.fixture(scope="module")
def reference(asked: Path) -> Iterator[EngineSession]:
    """ONNX Runtime on the processor, which keeps nothing from question to question."""
    with Engine.open(asked, "onnxruntime", threads=1, snapshot_bytes=0, picture_bytes=0) as session:
        yield session
