"""The libraries: loaded from where their wheels put them; where they are not, with what to install."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lineside.engines.tensorrt import compile as compiling
from lineside.engines.tensorrt import library as libraries
from lineside.engines.tensorrt.compile import Wanted
from lineside.engines.tensorrt.library import Library, LibraryMissing, load
from lineside.engines.tensorrt.profiles import Sizes


def _rtx() -> Library:
    try:
        return load("tensorrt-rtx")
    except LibraryMissing as error:
        pytest.skip(f"not asked: {error}")


def test_rtx_is_found_inside_its_wheel_with_no_path_set() -> None:
    """In a fresh process, as a service starts it."""
    _rtx()
    script = "from lineside.engines.tensorrt.library import load; print(load('tensorrt-rtx').version)"
    run = subprocess.run(
        [sys.executable, "-c", script], env={"PATH": "/usr/bin"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == _rtx().version


def test_rtx_compiles_for_chips_it_does_not_run_on_and_takes_no_plugins() -> None:
    rtx = _rtx()
    assert {86, 89, 120} <= set(rtx.targets)
    assert not rtx.takes_plugins
    assert rtx.capability(89) is not None
    with pytest.raises(LibraryMissing, match=r"compiles for the chips .*, not for 87: .*--sm"):
        rtx.capability(87)


def test_a_missing_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    def no_wheel(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(libraries.importlib, "import_module", nothing)
    monkeypatch.setattr(libraries.importlib.metadata, "distribution", no_wheel)
    with pytest.raises(
        LibraryMissing, match=r"TensorRT cannot be loaded .*JetPack 7\.2.*lineside\[tensorrt\]"
    ):
        load.__wrapped__("tensorrt")
    with pytest.raises(LibraryMissing, match=r"TensorRT-RTX .*pip install --no-deps tensorrt-rtx"):
        load.__wrapped__("tensorrt-rtx")


@pytest.mark.parametrize(("version", "taken"), [("10.3.0", False), ("10.16.0.72", True), ("11.4.1", True)])
def test_an_old_tensorrt_is_refused_with_the_oldest_that_will_do(
    monkeypatch: pytest.MonkeyPatch, version: str, taken: bool
) -> None:
    """JetPack 6.2's 10.3 has neither attention layers nor ahead-of-time plugins."""
    module = SimpleNamespace(__version__=version)
    monkeypatch.setattr(libraries.importlib, "import_module", lambda name: module)
    if taken:
        found = load.__wrapped__("tensorrt")
        assert found.version == ".".join(version.split(".")[:3])
        assert found.takes_plugins
        assert found.targets == ()
    else:
        with pytest.raises(LibraryMissing, match=r"TensorRT 10\.3\.0 is installed, and 10\.16 is the oldest"):
            load.__wrapped__("tensorrt")


@pytest.mark.parametrize(("here", "named"), [(None, "has no GPU"), (89, "chip is sm_89")])
def test_tensorrt_compiles_for_the_chip_it_runs_on_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: int | None, named: str
) -> None:
    monkeypatch.setattr(compiling, "chip_here", lambda: here)
    library = Library("tensorrt", "10.16.1", SimpleNamespace())  # type: ignore[arg-type]
    with pytest.raises(LibraryMissing, match=named):
        compiling.compile_bundle(None, library, 87, Wanted(Sizes(64)), tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
