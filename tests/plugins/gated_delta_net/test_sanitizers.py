"""No kernel reads or writes where it must not, and no two of its threads race: shown by taking care away.

Each barrier and each bound is removed in turn from a copy of the sources; a sanitizer must notice. The full
sweep takes minutes: `LINESIDE_SWEEP=1 pytest tests/plugins/gated_delta_net/test_sanitizers.py`.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.plugins import gated_delta_net
from lineside.plugins.host.build import Mode
from lineside.plugins.host.run import KernelFailed, run

pytestmark = [pytest.mark.host, pytest.mark.sanitizers]

FOLDER = Path(gated_delta_net.__file__).parent
SWEEP = bool(os.environ.get("LINESIDE_SWEEP"))
NAMES = ("decode", "recurrent", "prepare", "solve", "scan")
BARRIER = re.compile(r"__syncthreads\(\);")


def case(layer: Any, name: str) -> Any:
    """Two chunks and a ragged one, so that shared memory is used again."""
    sizes = {"B": 1, "T": 1 if name == "decode" else 71, "C": 4 * 32, "HV": 2}
    return layer.kernel(name).draw(np.random.default_rng(3), sizes, layer.variant())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", [Mode.ADDRESS, Mode.THREAD])
def test_every_kernel_is_clean(layer_of: Any, distance: Any, name: str, mode: Mode) -> None:
    layer = layer_of(mode=mode, order=4)
    drawn = case(layer, name)
    found = layer.one(name, drawn.inputs)

    for tensor, expected in layer.kernel(name).naive(drawn.inputs, layer.variant()).items():
        assert distance(found[tensor], expected) <= drawn.tolerance, tensor


def spoilt(layer: Any, name: str, folder: Path, old: str | re.Pattern[str], new: str, which: int = 0) -> Any:
    """The kernel from a copy of its sources, with the `which`-th `old` replaced by `new`."""
    copy = folder / "sources"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    source = copy / f"{name}.cu"
    text = source.read_text()
    found = list(re.finditer(old if isinstance(old, re.Pattern) else re.escape(old), text))
    assert len(found) > which, f"{name}.cu has {len(found)} of {old!r}"
    source.write_text(text[: found[which].start()] + new + text[found[which].end() :])
    return dataclasses.replace(layer.kernel(name), source=source)


def barriers() -> list[Any]:
    """Every barrier of every kernel; one of each kernel where not all are asked for."""
    kept = {("decode", 0), ("recurrent", 1), ("solve", 2), ("scan", 3)}
    return [
        pytest.param(name, which, id=f"{name}-{which}")
        for name in NAMES
        for which in range(len(BARRIER.findall((FOLDER / f"{name}.cu").read_text())))
        if SWEEP or (name, which) in kept
    ]


@pytest.mark.parametrize(("name", "which"), barriers())
def test_no_barrier_can_be_left_out(layer_of: Any, tmp_path: Path, name: str, which: int) -> None:
    layer = layer_of()
    kernel = spoilt(layer, name, tmp_path, BARRIER, ";", which)

    with pytest.raises(KernelFailed, match="data race"):
        run(kernel, layer.variant(), case(layer, name).inputs, mode=Mode.THREAD)


@pytest.mark.parametrize(
    ("name", "bound", "without"),
    [
        ("recurrent", "if (token < tokens) {", "{"),
        ("prepare", "min(first + WARP_TOKENS, tokens)", "first + WARP_TOKENS"),
        ("solve", "min(CHUNK, tokens - first)", "CHUNK"),
        ("scan", "min(CHUNK, tokens - first)", "CHUNK"),
    ],
)
def test_no_bound_can_be_left_out(layer_of: Any, tmp_path: Path, name: str, bound: str, without: str) -> None:
    layer = layer_of()
    kernel = spoilt(layer, name, tmp_path, bound, without)

    with pytest.raises(KernelFailed, match="buffer-overflow"):
        run(kernel, layer.variant(), case(layer, name).inputs, mode=Mode.ADDRESS)
