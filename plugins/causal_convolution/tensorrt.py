"""The causal convolution as a node of a TensorRT graph."""

from __future__ import annotations

from lineside.plugins.causal_convolution.shapes import KERNEL
from lineside.plugins.operators import find_variant
from lineside.plugins.tensorrt import node_attributes

Node = tuple[str, dict[str, str | int]]


def causal_convolution_node(activation: str) -> Node:
    """Operator and attributes; inputs x, weight, state; outputs y, present. Raises UnknownKernel."""
    return KERNEL.name, node_attributes(find_variant(KERNEL, activation))
