"""NVIDIA's plugin layer over the stand-in, fresh for every test, and PTX kept for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import tensorrt_stand_in

from lineside.plugins.ptx.compile import default_cache
from lineside.plugins.ptx.nvrtc import NvrtcMissing, nvrtc


@pytest.fixture
def plugin() -> Iterator[ModuleType]:
    """`tensorrt.plugin`, with nothing defined yet."""
    if tensorrt_stand_in.plugin_layer() is None:
        pytest.skip("the wheel tensorrt-cu13-bindings is not installed: TensorRT's plugin layer is not tried")
    try:
        nvrtc()
    except NvrtcMissing as missing:
        pytest.skip(str(missing))
    with tensorrt_stand_in.installed() as plugin:
        yield plugin


@pytest.fixture(scope="session")
def kept() -> Path:
    """Where PTX is kept: the user's cache, so that tests that compile the same share it."""
    return default_cache()
