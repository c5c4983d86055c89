"""The CUDA built-ins on the CPU: indices, barriers, shuffles and tensor cores mean what CUDA says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from lineside.plugins.host.run import run
from lineside.plugins.operator import Kernel, Variant

pytestmark = pytest.mark.host

Kernels = Callable[..., Kernel]
Variants = Callable[..., Variant]


@pytest.mark.parametrize("order", [0, 1, 5])
def test_every_thread_of_every_block_runs_once(kernel: Kernels, variant: Variants, order: int) -> None:
    grid, block = (2, 3, 2), (5, 3, 2)
    threads = 12 * 30
    one = kernel(
        "indices",
        {"unused": ("float32", (1,))},
        {"found": ("int32", (threads, 6))},
        grid=grid,
        block=block,
    )
    found = run(one, variant(), {"unused": np.zeros(1)}, order=order)["found"]

    axes = (range(n) for n in (*reversed(grid), *reversed(block)))
    expected = [[x, y, z, bx, by, bz] for bz, by, bx, z, y, x in _product(*axes)]
    assert found.tolist() == expected


def _product(*axes: range) -> Any:
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)).tolist()


def test_warps_exchange_as_cuda_says(kernel: Kernels, variant: Variants) -> None:
    given = np.arange(64, dtype=np.int32)[::-1] * 3 % 50
    one = kernel("lanes", {"given": ("int32", (64,))}, {"got": ("int32", (10, 64))}, block=(64, 1, 1))
    got = run(one, variant(), {"given": given})["got"]

    warps = given.reshape(2, 32)
    lane = np.arange(32)
    votes = (warps % 3 == 0).astype(np.uint32) << lane.astype(np.uint32)
    expected = [
        np.repeat(warps[:, 5:6], 32, axis=1),
        warps[:, lane // 8 * 8 + 1],  # lane 9 of groups of 8 is lane 1
        warps[:, lane ^ 6],
        warps[:, np.where(lane < 3, lane, lane - 3)],
        warps[:, np.where(lane % 16 > 12, lane, lane + 3)],
        np.repeat(votes.sum(axis=1, dtype=np.uint32).view(np.int32)[:, None], 32, axis=1),
        np.repeat((warps == 7).any(axis=1, keepdims=True), 32, axis=1),
        np.ones((2, 32)),
        np.repeat(warps.sum(axis=1, keepdims=True), 32, axis=1),
        np.repeat(warps.reshape(2, 4, 8).max(axis=2), 8, axis=1),
    ]
    assert got.reshape(10, 2, 32).tolist() == [np.asarray(row, np.int32).tolist() for row in expected]


def test_sixteen_bit_numbers_round_as_everywhere(kernel: Kernels, variant: Variants) -> None:
    rng = np.random.default_rng(3)
    patterns = np.arange(65536, dtype=np.uint16)
    floats = np.concatenate(
        [
            rng.standard_normal(4000).astype(np.float32),
            rng.integers(0, 2**32, 20000, dtype=np.uint32).view(np.float32),  # of any size, and NaN
            (rng.standard_normal(4000) * 2.0**-20).astype(np.float32),  # subnormal in float16
            np.float32([0.0, -0.0, np.inf, -np.inf, 65504, 65519.996, 65520, 2.0**-25, 2.0**-24, 3e-8]),
            # Halfway between two neighbours, for both types: to even.
            (np.arange(0x3F800000 >> 13, 0x40800000 >> 13, dtype=np.uint32) << 13 | 0x1000).view(np.float32),
            (np.arange(0x3F00, 0x4100, dtype=np.uint32) << 16 | 0x8000).view(np.float32),
        ]
    )
    one = kernel(
        "convert",
        {"patterns": ("uint16", (65536,)), "floats": ("float32", ("N",))},
        {
            "halves": ("float32", (65536,)),
            "bfloats": ("float32", (65536,)),
            "to_half": ("uint16", ("N",)),
            "to_bfloat": ("uint16", ("N",)),
        },
        scalars={"count": floats.size},
    )
    out = run(one, variant(), {"patterns": patterns, "floats": floats})

    with np.errstate(over="ignore", invalid="ignore"):
        _assert_same_numbers(out["halves"], patterns.view(np.float16))
        _assert_same_numbers(out["bfloats"], patterns.view(ml_dtypes.bfloat16))
        _assert_same_numbers(out["to_half"].view(np.float16), floats.astype(np.float16))
        _assert_same_numbers(out["to_bfloat"].view(ml_dtypes.bfloat16), floats.astype(ml_dtypes.bfloat16))


def _assert_same_numbers(found: Any, expected: Any) -> None:
    found, expected = found.astype(np.float32), expected.astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    assert (np.signbit(found) == np.signbit(expected))[~np.isnan(expected)].all()


@pytest.mark.parametrize("activation", ["float16", "bfloat16"])
def test_tensor_cores_multiply_matrices(kernel: Kernels, variant: Variants, activation: str) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((16, 16)), rng.standard_normal((8, 16))
    one = kernel(
        "product",
        {"a": ("activation", (16, 16)), "b": ("activation", (8, 16))},
        {"d": ("float32", (16, 8))},
    )
    kind = np.float16 if activation == "float16" else ml_dtypes.bfloat16
    d = run(one, variant(activation), {"a": a, "b": b})["d"]

    exact = a.astype(kind).astype(np.float64) @ b.astype(kind).astype(np.float64).T
    np.testing.assert_allclose(d, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", [0, 1, 9])
def test_shared_memory_is_the_blocks_own(kernel: Kernels, variant: Variants, order: int) -> None:
    x = np.arange(192, dtype=np.float32)
    one = kernel(
        "turn_round",
        {"x": ("float32", ("N",))},
        {"fixed": ("float32", ("N",)), "dynamic": ("float32", ("N",)), "sum": ("int32", (3,))},
        grid=(3, 1, 1),
        block=(64, 1, 1),
        shared_bytes=256,
    )
    out = run(one, variant(), {"x": x}, order=order)

    turned = x.reshape(3, 64)[:, ::-1].reshape(-1)
    np.testing.assert_array_equal(out["fixed"], turned)
    np.testing.assert_array_equal(out["dynamic"], 2 * turned)
    np.testing.assert_array_equal(out["sum"], x.reshape(3, 64).sum(axis=1))
