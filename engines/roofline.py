"""What this machine can do at most: memory bandwidth and multiplications a second, measured here and now.

The yardstick beside which an engine's own figures mean something: decoding cannot stream weights faster than
memory gives them, prefill cannot multiply faster than the best matrix product. Knows numpy and ONNX Runtime's
matrix product; does not know engines.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

# Beyond any cache: 128 MiB an array, three of them.
_TRIAD_NUMBERS = 16 << 20
# Small enough to stay in a core's cache while the triad's two passes go over it.
_SLICE = 8 << 10
_PRODUCT_SIDE = 1024
_REPEATS = 5
_IR_VERSION, _OPSET = 10, 21


@dataclass(frozen=True, slots=True)
class Roofline:
    """`triad_bytes_s`: a = b + s·c as STREAM counts it (24 bytes a number). `read_bytes_s`: reading alone.

    `multiply_adds_s`: of a float32 matrix product. All with `threads` threads.
    """

    triad_bytes_s: float
    read_bytes_s: float
    multiply_adds_s: float
    threads: int


def measure_roofline(
    threads: int | None = None,
    *,
    numbers: int = _TRIAD_NUMBERS,
    side: int = _PRODUCT_SIDE,
    repeats: int = _REPEATS,
) -> Roofline:
    """Measures for about two seconds; medians of `repeats`.

    `numbers`: float64 in each of the triad's arrays; `side`: of the square matrices.
    """
    threads = threads or len(os.sched_getaffinity(0))
    triad, read = _bandwidth(threads, numbers, repeats)
    return Roofline(triad, read, _products(threads, side, repeats), threads)


def _bandwidth(threads: int, numbers: int, repeats: int) -> tuple[float, float]:
    share = max(numbers // threads, 1)
    # Each thread fills its own part, so that its memory lies where its core is.
    with ThreadPoolExecutor(threads, "lineside-roofline") as pool:
        parts = list(pool.map(lambda _: _part(share), range(threads)))
        moved = 8 * share * threads
        triad = _median(lambda: list(pool.map(_triad, parts)), repeats)
        read = _median(lambda: list(pool.map(_read, parts)), repeats)
    return 3 * moved / triad, moved / read


Part = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _part(size: int) -> Part:
    return np.zeros(size), np.full(size, 1.0), np.full(size, 2.0)


def _triad(part: Part) -> None:
    a, b, c = part
    # numpy has no a = b + s·c in one pass: two passes over slices that stay in cache in between.
    for start in range(0, a.size, _SLICE):
        piece = slice(start, start + _SLICE)
        np.multiply(c[piece], 3.0, out=a[piece])
        np.add(a[piece], b[piece], out=a[piece])


def _read(part: Part) -> float:
    return float(part[1].max())


def _products(threads: int, side: int, repeats: int) -> float:
    """By ONNX Runtime's own kernel, which is what prefill could reach, with the same threads."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in "abc"]
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", values[:2], values[2:])
    model = helper.make_model(graph, ir_version=_IR_VERSION, opset_imports=[helper.make_opsetid("", _OPSET)])
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    numbers = np.random.default_rng(0)
    feeds = {name: numbers.standard_normal((side, side), np.float32) for name in "ab"}
    return side**3 / _median(lambda: session.run(["c"], feeds), repeats)


def _median(call: Callable[[], object], repeats: int) -> float:
    """Seconds of a call, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
