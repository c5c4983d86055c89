"""What the kernels are described as: launches, what they move, and the figures that the docstring gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lineside.plugins import gated_delta_net
from lineside.plugins.gated_delta_net.shapes import OPERATOR, operator_for
from lineside.plugins.operator import (
    SHARED_MEMORY_LIMIT,
    Integers,
    Kernel,
    numpy_dtype,
    output_shapes,
    sizes_of,
)

KERNELS = {kernel.name.removeprefix("gated_delta_net_"): kernel for kernel in OPERATOR.kernels}
NAMES = list(KERNELS)


def arguments(kernel: Kernel, sizes: dict[str, int]) -> dict[str, Any]:
    """Shapes of all tensors for sizes of the published models."""
    case = kernel.draw(np.random.default_rng(0), sizes, kernel.variants[0])
    inputs = {name: array.shape for name, array in case.inputs.items()}
    return inputs | output_shapes(kernel, sizes_of(kernel, inputs), kernel.variants[0])


@pytest.mark.parametrize("name", NAMES)
def test_bytes_moved_are_those_of_its_tensors(name: str) -> None:
    kernel = KERNELS[name]
    for sizes in kernel.sizes:
        if sizes["T"] > 400:
            continue
        shapes = arguments(kernel, dict(sizes))
        if name == "scan":  # which leaves the values where they are
            shapes["mixed"] = (1, sizes["T"], sizes["C"] - sizes["HV"] * 128)
        variant = kernel.variants[0]
        total = sum(
            math.prod(shapes[t.name]) * numpy_dtype(t, variant).itemsize
            for t in (*kernel.inputs, *kernel.outputs)
        )
        assert kernel.bytes_moved(sizes, variant) == pytest.approx(total, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "grid", "block", "scalars"),
    [
        ("decode", (32, 1, 1), 512, (16, 32)),
        ("recurrent", (32, 1, 1), 512, (364, 16, 32)),
        ("prepare", (6, 64, 1), 128, (364, 16, 32)),
        ("solve", (6, 32, 1), 128, (364, 16, 32)),
        ("scan", (32, 1, 1), 256, (364, 16, 32)),
    ],
)
def test_launch_of_a_4b_model(name: str, grid: tuple[int, ...], block: int, scalars: tuple[int, ...]) -> None:
    kernel = KERNELS[name]
    sizes = {"B": 1, "T": 364, "C": 8192, "HV": 32, "NC": 6}
    launch = kernel.launch(sizes, Integers(), kernel.variants[0])

    assert (launch.grid, launch.block, launch.scalars) == (grid, (block, 1, 1), scalars)
    assert launch.shared_bytes == 0  # all of it is static
    assert len(launch.scalars) == len(kernel.scalars)


def test_the_three_ways_take_and_give_the_same() -> None:
    def names(tensors: Any) -> set[str]:
        return {tensor.name for tensor in tensors}

    decode, recurrent = KERNELS["decode"], KERNELS["recurrent"]
    nodes = [KERNELS[name] for name in ("prepare", "solve", "scan")]
    between = set().union(*(names(node.outputs) for node in nodes)) - names(recurrent.outputs)

    assert [t.name for t in decode.inputs] == [t.name for t in recurrent.inputs]
    assert [t.name for t in decode.outputs] == [t.name for t in recurrent.outputs]
    assert set().union(*(names(node.inputs) for node in nodes)) - between == names(recurrent.inputs)
    assert names(recurrent.outputs) <= set().union(*(names(node.outputs) for node in nodes))


def test_figures_of_the_docstring() -> None:
    decode = KERNELS["decode"]
    moved = decode.bytes_moved(decode.sizes[0], decode.variants[0])
    text = " ".join((gated_delta_net.__doc__ or "").split())

    assert f"Moves {moved / 1e6:.2f} MB for 16 value heads" in text
    assert f"a floor of {moved / 102e9 * 1e6:.0f} us a layer at 102 GB/s (Orin Nano)" in text
    assert f"and {moved / 273e9 * 1e6:.1f} us at 273 GB/s (Thor)" in text
    assert SHARED_MEMORY_LIMIT == 48 * 1024
    assert "shared memory below 48 KiB" in text


def test_other_head_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="heads of 32, 64 or 128, not 48"):
        operator_for(48)
    assert [variant.name for variant in operator_for(32).kernels[0].variants] == ["float16", "bfloat16"]
