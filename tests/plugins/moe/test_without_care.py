"""Barriers and bounds of the products and of grouping are needed: without one, a sanitizer objects.

Every barrier is tried with `LINESIDE_SWEEP=1`; without, one of each header and kernel that matters most.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from on_host import drawn, need_compiler

from lineside.plugins.host.build import Mode
from lineside.plugins.host.run import KernelFailed, run
from lineside.plugins.include import FOLDER
from lineside.plugins.int4_matmul.shapes import OPERATOR as INT4_MATMUL
from lineside.plugins.moe.shapes import OPERATOR as MOE
from lineside.plugins.operator import Kernel

KERNELS = {kernel.name: kernel for operator in (INT4_MATMUL, MOE) for kernel in operator.kernels}
BARRIER = "__syncthreads();"
PRODUCT = {"T": 3, "K": 300, "N": 21}
MIXTURE = {"T": 1, "S": 2, "E": 3, "H": 150, "I": 21}
# A kernel, the file with its barriers, how many there are, and which is always tried.
BARRIERS = [
    ("gemv_int4", "gemv.cu", 1, 0, PRODUCT),
    ("gemm_int4", "tiles.cuh", 2, 0, PRODUCT),
    ("moe_group", "group.cu", 3, 1, {"T": 27}),
    ("moe_grouped_gate_up", "groups.cuh", 2, None, MIXTURE),
    ("moe_gate_up", "gate_up.cu", 1, None, MIXTURE),
    ("moe_down", "down.cu", 1, None, MIXTURE),
]
TRIED = [
    pytest.param(name, file, which, sizes, id=f"{name}: {file} {which}")
    for name, file, count, always, sizes in BARRIERS
    for which in range(count)
    if which == always or os.environ.get("LINESIDE_SWEEP")
]


@pytest.fixture(autouse=True, scope="module")
def _compiler() -> None:
    need_compiler()


def spoilt(kernel: Kernel, folder: Path, file: str, old: str, new: str, which: int = 0) -> Kernel:
    """The kernel from copies of its sources, with the `which`-th `old` of one file replaced by `new`."""
    for source in (*FOLDER.glob("*.cuh"), *kernel.source.parent.glob("*.cu*")):
        shutil.copy(source, folder)
    text = (folder / file).read_text()
    found = list(re.finditer(re.escape(old), text))
    assert len(found) > which, f"{file} has {len(found)} of {old!r}"
    (folder / file).write_text(text[: found[which].start()] + new + text[found[which].end() :])
    return replace(kernel, source=folder / kernel.source.name)


@pytest.mark.parametrize(("name", "file", "which", "sizes"), TRIED)
def test_no_barrier_can_be_left_out(
    name: str, file: str, which: int, sizes: dict[str, int], tmp_path: Path
) -> None:
    kernel = spoilt(KERNELS[name], tmp_path, file, BARRIER, ";", which)

    with pytest.raises(KernelFailed, match="data race"):
        _run(kernel, sizes, Mode.THREAD)


@pytest.mark.parametrize(("name", "file", "count", "always", "sizes"), BARRIERS)
def test_every_barrier_is_on_the_list(
    name: str, file: str, count: int, always: int | None, sizes: Any, tmp_path: Path
) -> None:
    places = (KERNELS[name].source.with_name(file), FOLDER / file)

    assert sum(path.read_text().count(BARRIER) for path in places if path.is_file()) == count


@pytest.mark.parametrize(
    ("name", "file", "bound", "without", "sizes"),
    [
        ("gemv_int4", "weights.cuh", "row < 0 || first >= blocks", "row < 0", PRODUCT | {"K": 256}),
        ("gemv_int4", "gemv.cu", "first_output + i < outputs ?", "true ?", PRODUCT),
        ("moe_gate_up", "gate_up.cu", "known && first + g < inner", "known", MIXTURE | {"S": 3}),
        ("moe_grouped_down", "groups.cuh", "i < group.used ?", "true ?", MIXTURE),
    ],
    ids=["past the last block", "past the last output", "past the last expert", "past the last pair"],
)
def test_no_bound_can_be_left_out(
    name: str, file: str, bound: str, without: str, sizes: dict[str, int], tmp_path: Path
) -> None:
    kernel = spoilt(KERNELS[name], tmp_path, file, bound, without)

    with pytest.raises(KernelFailed, match="buffer-overflow"):
        _run(kernel, sizes, Mode.ADDRESS)


def _run(kernel: Kernel, sizes: dict[str, int], mode: Mode) -> None:
    variant = kernel.variants[0]
    run(kernel, variant, drawn(kernel, variant, **sizes).inputs, mode=mode)
