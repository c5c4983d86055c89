"""The compiler in its own process: however it ends, one line says so, and nothing half made is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.engines.tensorrt import apart
from lineside.engines.tensorrt.apart import compile_apart
from lineside.engines.tensorrt.compiler_process import Job
from lineside.engines.tensorrt.network import CannotCompile

JOB = Job("tensorrt-rtx", 89, "graph.onnx", "graph.plan", "timing", {})


def compiler(place: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a shell script where the compiler's process would be."""
    path = place / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(apart.sys, "executable", str(path))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -SEGV $$", "prefill: TensorRT ended its process with SIGSEGV; nothing was lost"),
        ("echo terminate called >&2; kill -ABRT $$", "SIGABRT.*: terminate called"),
        ("kill -KILL $$", "memory ran out: stop other programs"),
        ("echo first >&2; echo last words >&2; exit 3", "the compiler ended with 3: last words"),
        ("""echo '{"error": "no layer for this"}'; exit 1""", "prefill: no layer for this"),
        ("exit 0", "the compiler ended with 0"),
    ],
)
def test_its_end_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    compiler(tmp_path, monkeypatch, script)
    with pytest.raises(CannotCompile, match=said):
        compile_apart(JOB, "prefill", tmp_path, lambda done, of: None)


def test_what_it_tells_is_heard_among_words_of_the_librarys_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (
        "[TRT] a warning",
        '{"phase": "a", "step": 1, "of": 2}',
        "[]",
        '{"phase": "a", "step": 2, "of": 2}',
    )
    script = "\n".join(f"echo '{line}'" for line in (*lines, '{"done": {"bytes": 7}}', "bye"))
    compiler(tmp_path, monkeypatch, script)
    heard: list[tuple[int, int]] = []
    assert compile_apart(JOB, "step", tmp_path, lambda done, of: heard.append((done, of))) == {"bytes": 7}
    assert heard == [(1, 2), (2, 2)]


def test_a_job_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    """The real process, on a graph that is no graph."""
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(b"no graph")
    job = Job("tensorrt-rtx", 89, str(graph), str(tmp_path / "plan"), str(tmp_path), {})
    with pytest.raises(
        CannotCompile, match=r"step: (TensorRT's parser refuses the graph|TensorRT-RTX cannot)"
    ):
        compile_apart(job, "step", tmp_path, lambda done, of: None)
    assert not (tmp_path / "plan").exists()
