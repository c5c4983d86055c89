"""What checking a kernel needs where there is no GPU: g++ for the emulation, NVRTC for the PTX."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.plugins.host.build import NoCompiler, compiler
from lineside.plugins.ptx.nvrtc import NvrtcMissing, nvrtc


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where PTX is kept."""
    return tmp_path_factory.mktemp("ptx")


@pytest.fixture
def emulation() -> None:
    """Skips where kernels can be neither compiled nor emulated."""
    try:
        compiler()
        nvrtc()
    except (NoCompiler, NvrtcMissing) as missing:
        pytest.skip(str(missing))
