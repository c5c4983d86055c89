"""The int4 products as nodes of a TensorRT graph."""

from __future__ import annotations

from lineside.plugins.int4_matmul.shapes import GEMM, GEMM_ZEROS, GEMV, GEMV_ZEROS
from lineside.plugins.operators import find_variant
from lineside.plugins.tensorrt import node_attributes

Node = tuple[str, dict[str, str | int]]


def int4_matmul_node(activation: str, block: int, *, zeros: bool, many_rows: bool) -> Node:
    """Operator and attributes; inputs x, values, scales and, if there are any, zeros; output y.

    `many_rows`: more than eight as a rule (a prompt), not one (a decoding step). Raises UnknownKernel for
    a block or an activation that no kernel was written for.
    """
    plain, with_zeros = (GEMM, GEMM_ZEROS) if many_rows else (GEMV, GEMV_ZEROS)
    kernel = with_zeros if zeros else plain
    return kernel.name, node_attributes(find_variant(kernel, f"{activation}-{block}"))
