"""The short convolution of a DeltaNet layer on one core: ONNX Runtime's operator against shifted products."""

from __future__ import annotations

import time

import harness
import numpy as np
import onnxruntime as ort

from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects.onnxruntime import OnnxRuntimeDialect

CHANNELS, WIDTH, REPEATS = 6144, 4, 15  # of the 0.8B and 2B shapes


def session(operator: str, kernel: np.ndarray) -> ort.InferenceSession:
    """One convolution as the dialect writes it for this operator of the delta rule."""
    graph = GraphBuilder("conv")
    x = graph.input("x", "float32", ["B", "T", CHANNELS])
    state = graph.input("state", "float32", ["B", WIDTH - 1, CHANNELS])
    y, present = OnnxRuntimeDialect(operator).causal_conv(graph, x, kernel, state, "conv")  # type: ignore[arg-type]
    graph.output("y", y, "float32", ["B", "T", CHANNELS])
    graph.output("present", present, "float32", ["B", WIDTH - 1, CHANNELS])
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        graph.model().SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def test_convolution() -> None:
    rng = np.random.default_rng(0)
    kernel = (0.3 * rng.standard_normal((CHANNELS, 1, WIDTH))).astype(np.float32)
    sessions = {name: session(name, kernel) for name in ("gated_delta_net", "linear_attention")}
    rows: list[list[object]] = []
    for tokens in (256, 64, 14, 1):
        given = {
            "x": rng.standard_normal((1, tokens, CHANNELS)).astype(np.float32),
            "state": rng.standard_normal((1, WIDTH - 1, CHANNELS)).astype(np.float32),
        }
        outputs, times = [], []
        for one in sessions.values():
            outputs.append(one.run(None, given))
            spent = []
            for _ in range(REPEATS):
                begun = time.process_time()
                one.run(None, given)
                spent.append(1e3 * (time.process_time() - begun))
            times.append(harness.median(spent))
        for operator, products in zip(*outputs, strict=True):
            np.testing.assert_allclose(operator, products, atol=1e-5)
        rows.append([tokens, *times, f"{times[0] / times[1]:.1f}×"])
    harness.print_table(
        f"One convolution of {CHANNELS} channels, one thread: milliseconds of processor time, medians",
        ["tokens", "operator", "shifted products", "worth"],
        rows,
    )
