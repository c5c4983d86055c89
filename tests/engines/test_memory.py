"""Memory is stated before anything is loaded, and what does not fit is refused with what would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tiny_engine

from lineside.engines import runtimes
from lineside.engines.base import Choice, Prompt
from lineside.engines.bundle import open_bundle
from lineside.engines.errors import IncompatibleBundle, NotEnoughMemory
from lineside.engines.memory import MemoryNeed, free_bytes, memory_need, size_text
from lineside.engines.open import Engine

NEED = MemoryNeed(graphs=1000, fixed_states=200, per_token=10)


def test_a_bundles_need_is_its_graphs_and_the_states_its_session_makes(bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle, tmp_path)
    need = memory_need(opened)
    assert need.graphs == sum(path.stat().st_size for path in (bundle / "onnx").iterdir())
    from lineside.engines.onnxruntime.graphs import DecoderGraph
    from lineside.engines.onnxruntime.providers import open_session

    build = opened.manifest.onnx
    assert build is not None
    layout = DecoderGraph(open_session(opened.path(build.decoder), "onnxruntime", 1)).layout
    assert (need.fixed_states, need.per_token) == (layout.fixed_bytes(), layout.cache_bytes())
    with Engine.open(bundle, threads=1, context_tokens=100) as engine:
        assert engine.info.memory_bytes == need.total(100)


def test_what_fits_is_taken_and_what_does_not_is_refused_with_what_would() -> None:
    assert (NEED.total(100), NEED.most_tokens(2200)) == (2200, 100)
    NEED.check("x", 100, 2200)
    NEED.check("x", 10**9, None)
    with pytest.raises(NotEnoughMemory, match=r"context of 101 tokens.*at most 100"):
        NEED.check("x", 101, 2200)
    with pytest.raises(NotEnoughMemory, match="smaller or int4"):
        NEED.check("x", 1, 1100)


def test_an_engine_refuses_a_context_beyond_the_free_memory(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = memory_need(open_bundle(bundle, tmp_path))
    monkeypatch.setattr(runtimes, "free_bytes", lambda: need.total(64))
    with Engine.open(bundle, threads=1, context_tokens=64) as engine:
        assert engine.info.context_tokens == 64
    with pytest.raises(NotEnoughMemory, match="at most 64"):
        Engine.open(bundle, threads=1, context_tokens=65)


def test_an_engine_refuses_a_context_beyond_the_model(bundle: Path) -> None:
    with pytest.raises(IncompatibleBundle, match="up to"):
        Engine.open(bundle, threads=1, context_tokens=10**9)


def machine(root: Path, available_kib: int) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {available_kib} kB\n")
    return root


def group(root: Path, limit: str, used: int, cached: int) -> None:
    (root / "proc/self/cgroup").write_text("0::/box/engine\n")
    folder = root / "sys/fs/cgroup/box/engine"
    folder.mkdir(parents=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


def test_free_is_what_the_machine_says(tmp_path: Path) -> None:
    assert free_bytes(machine(tmp_path, 2048)) == 2 << 20
    assert free_bytes(tmp_path / "nothing") is None


def test_a_control_group_may_leave_less(tmp_path: Path) -> None:
    root = machine(tmp_path, 2048)
    group(root, "1000000", 700_000, 100_000)
    assert free_bytes(root) == 400_000


def test_a_group_without_a_limit_leaves_what_the_machine_has(tmp_path: Path) -> None:
    root = machine(tmp_path, 2048)
    group(root, "max", 700_000, 0)
    assert free_bytes(root) == 2 << 20


def test_this_machine_says_something_believable() -> None:
    free = free_bytes()
    if not Path("/proc/meminfo").exists():
        pytest.skip("no /proc on this machine")
    assert free is not None
    assert 1 << 20 < free < 1 << 50


def test_sizes_read_well() -> None:
    sizes = [(5, "5 B"), (2048, "2 KiB"), (3 << 19, "1.5 MiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")]
    assert [size_text(size) for size, _ in sizes] == [text for _, text in sizes]


def test_the_whole_context_of_the_published_models_opens_and_answers(
    checkpoint: Path, tmp_path: Path
) -> None:
    path = tiny_engine.build(checkpoint, tmp_path / "long", context_tokens=262_144)
    need = memory_need(open_bundle(path, tmp_path))
    free = free_bytes()
    if free is not None and free < need.total(262_144):
        pytest.skip("this machine has not the memory")
    before = _resident()
    with Engine.open(path, threads=1, context_tokens=262_144) as engine:
        assert engine.info.memory_bytes == need.total(262_144) > 100 << 20
        answer = engine.answer([], Prompt("Is the cap on?"), Choice(("ok", "missing")))
        # Set aside, and not touched until tokens reach it.
        assert _resident() - before < need.states(262_144) / 2
    with Engine.open(path, threads=1, context_tokens=256) as engine:
        short = engine.answer([], Prompt("Is the cap on?"), Choice(("ok", "missing")))
    assert answer.probabilities == pytest.approx(short.probabilities, abs=1e-6)


def _resident() -> int:
    """Bytes of this process that lie in memory now; nothing where /proc does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
