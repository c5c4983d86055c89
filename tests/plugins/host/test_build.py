"""Builds are kept and found again, and what stands in the way is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lineside.plugins.host import build as building
from lineside.plugins.host.build import KernelRefused, Mode, NoCompiler, build
from lineside.plugins.host.run import KernelFailed, run
from lineside.plugins.operator import Kernel, Variant

pytestmark = pytest.mark.host

SOURCE = """
#include "numbers.cuh"
extern "C" __global__ void twice(const float* x, float* y) { y[threadIdx.x] = FACTOR * x[threadIdx.x]; }
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    building.compiler.cache_clear()
    yield tmp_path / "cache"
    building.compiler.cache_clear()


@pytest.fixture
def twice(tmp_path: Path, kernel: Callable[..., Kernel]) -> Kernel:
    """A kernel whose source the test may change."""
    source = tmp_path / "twice.cu"
    source.write_text(SOURCE)
    tensor = ("float32", (32,))
    return kernel("twice", {"x": tensor}, {"y": tensor}, source=source)


def test_a_second_build_compiles_nothing(twice: Kernel, variant: Callable[..., Variant]) -> None:
    made = build(twice, variant(FACTOR="2"))
    stamp = made.stat().st_mtime_ns

    assert build(twice, variant(FACTOR="2")) == made
    assert made.stat().st_mtime_ns == stamp


def test_whatever_goes_in_makes_another_build(twice: Kernel, variant: Callable[..., Variant]) -> None:
    x = {"x": np.ones(32)}
    assert run(twice, variant(FACTOR="2"), x)["y"].tolist() == [2.0] * 32
    assert run(twice, variant(FACTOR="3"), x)["y"].tolist() == [3.0] * 32
    twice.source.write_text(SOURCE.replace("FACTOR", "-FACTOR"))
    assert run(twice, variant(FACTOR="3"), x)["y"].tolist() == [-3.0] * 32


def test_a_header_beside_the_kernel_counts(twice: Kernel, variant: Callable[..., Variant]) -> None:
    header = twice.source.with_name("factor.cuh")
    twice.source.write_text('#include "factor.cuh"\n' + SOURCE)
    header.write_text("#define FACTOR 4\n")
    assert run(twice, variant(), {"x": np.ones(32)})["y"][0] == 4.0
    header.write_text("#define FACTOR 5\n")
    assert run(twice, variant(), {"x": np.ones(32)})["y"][0] == 5.0


def test_what_does_not_compile_is_said_in_the_compilers_words(
    twice: Kernel, variant: Callable[..., Variant], cache: Path
) -> None:
    with pytest.raises(KernelRefused, match=r"twice\.cu:3.*error: .FACTOR. was not declared"):
        build(twice, variant())
    assert not list(cache.rglob("twice*"))


def test_without_a_compiler_it_says_what_to_install(
    twice: Kernel, variant: Callable[..., Variant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoCompiler, match="sudo apt install g"):
        build(twice, variant(FACTOR="2"))


def test_a_cache_that_cannot_be_made_is_no_obstacle(
    twice: Kernel, variant: Callable[..., Variant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert build(twice, variant(FACTOR="2")).is_relative_to(tmp_path)


def test_a_description_that_does_not_fit_is_refused(
    twice: Kernel, kernel: Callable[..., Kernel], variant: Callable[..., Variant]
) -> None:
    with pytest.raises(ValueError, match=r"x has shape \(31,\)"):
        run(twice, variant(FACTOR="2"), {"x": np.ones(31)})
    tensor = ("float32", (32,))
    extra = kernel("twice", {"x": tensor, "w": tensor}, {"y": tensor}, source=twice.source)
    with pytest.raises(KernelFailed, match="takes 2 arguments, not 3"):
        run(extra, variant(FACTOR="2"), {"x": np.ones(32), "w": np.ones(32)})


@pytest.mark.sanitizers
def test_a_program_too_refuses_a_description_that_does_not_fit(
    kernel: Callable[..., Kernel], variant: Callable[..., Variant], twice: Kernel
) -> None:
    tensor = ("float32", (32,))
    extra = kernel("twice", {"x": tensor, "w": tensor}, {"y": tensor}, source=twice.source)
    with pytest.raises(KernelFailed, match="takes 2 arguments, not 3"):
        run(extra, variant(FACTOR="2"), {"x": np.ones(32), "w": np.ones(32)}, mode=Mode.ADDRESS)
