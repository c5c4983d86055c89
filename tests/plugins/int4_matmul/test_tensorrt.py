"""Which kernel a node of a TensorRT graph names, and what is refused."""

from __future__ import annotations

import pytest

from lineside.plugins.causal_convolution.tensorrt import causal_convolution_node
from lineside.plugins.int4_matmul.tensorrt import int4_matmul_node
from lineside.plugins.operators import UnknownKernel


def test_a_node_names_kernel_and_variant() -> None:
    name, attributes = int4_matmul_node("float16", 128, zeros=True, many_rows=False)

    assert name == "gemv_int4_zeros"
    assert attributes["variant"] == "float16-128"
    assert int4_matmul_node("bfloat16", 32, zeros=False, many_rows=True)[0] == "gemm_int4"
    assert causal_convolution_node("bfloat16")[1]["variant"] == "bfloat16"


def test_what_no_kernel_was_written_for_is_refused() -> None:
    with pytest.raises(UnknownKernel, match="float16-64"):
        int4_matmul_node("float16", 64, zeros=False, many_rows=False)
    with pytest.raises(UnknownKernel, match="float64"):
        causal_convolution_node("float64")
