"""NVIDIA's run-time compiler through ctypes: what it makes, and what it says when it refuses."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from lineside.plugins.ptx import nvrtc as nvrtc_module
from lineside.plugins.ptx.nvrtc import CompileFailed, Nvrtc, NvrtcMissing, nvrtc, wheel_folders

SOURCE = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2.0f; }'


@pytest.fixture(scope="module")
def compiler() -> Nvrtc:
    try:
        return nvrtc()
    except NvrtcMissing as missing:
        pytest.skip(str(missing))


def test_text_becomes_ptx_for_the_chip_that_is_named(compiler: Nvrtc) -> None:
    ptx = compiler.compile(SOURCE, "twice.cu", ["--gpu-architecture=compute_87"])

    assert ".target sm_87" in ptx
    assert ".visible .entry twice(" in ptx


def test_the_wheels_compiler_is_the_one_whose_ptx_old_drivers_take(compiler: Nvrtc) -> None:
    if not any((folder / "lib").glob("libnvrtc.so.*") for folder in wheel_folders()):
        pytest.skip("NVRTC is the system's here, not the wheel's")

    assert compiler.version == (13, 0)


def test_a_refusal_carries_the_compilers_log(compiler: Nvrtc) -> None:
    with pytest.raises(CompileFailed, match=r'(?s)broken\.cu with .*identifier "nothing" is undefined'):
        compiler.compile('extern "C" __global__ void k() { nothing(); }', "broken.cu", [])


def test_no_headers_of_cuda_are_found_so_none_may_be_used(compiler: Nvrtc) -> None:
    with pytest.raises(CompileFailed, match="could not open source file"):
        compiler.compile("#include <cuda_fp16.h>\n", "half.cu", [])


def test_where_there_is_no_library_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path | str) -> Nvrtc:
        raise OSError(path)

    monkeypatch.setattr(nvrtc_module, "Nvrtc", refuse)

    with pytest.raises(NvrtcMissing, match=r"pip install 'lineside\[kernels\]'"):
        nvrtc.__wrapped__()


def test_wheels_are_looked_for_where_this_environment_has_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cu13").mkdir()
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)

    assert wheel_folders() == [tmp_path / "cu13"]


def test_without_any_wheel_of_nvidia_there_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert wheel_folders() == []
