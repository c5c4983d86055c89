"""How many cores an engine takes when nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest

import lineside.engines.runtimes as runtimes
from lineside.engines.base import EngineInfo
from lineside.engines.open import Engine


def cores_of(engine: object) -> int:
    """0 is ONNX Runtime's word for all."""
    graph = engine._parts.generator._decoder  # type: ignore[attr-defined]
    return int(graph.session.get_session_options().intra_op_num_threads)


def test_a_tiny_engine_takes_one_core_and_a_large_one_all(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine.open(bundle) as tiny:
        assert isinstance(tiny.info, EngineInfo)
        assert cores_of(tiny) == 1
    monkeypatch.setattr(runtimes, "TINY_BYTES", 0)
    with Engine.open(bundle) as large:
        assert cores_of(large) == 0


def test_what_is_asked_for_is_taken(bundle: Path) -> None:
    with Engine.open(bundle, threads=2) as engine:
        assert cores_of(engine) == 2


def test_an_engine_says_how_many_cores_it_takes(bundle: Path) -> None:
    with Engine.open(bundle) as tiny, Engine.open(bundle, threads=2) as two:
        assert (tiny.info.threads, two.info.threads) == (1, 2)
