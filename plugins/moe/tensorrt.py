"""The mixture of experts as nodes of a TensorRT graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lineside.plugins.moe.shapes import COMBINE, GROUP, OPERATOR, ROUTE, combining_variant, routing_variant
from lineside.plugins.operator import Kernel, Variant
from lineside.plugins.operators import find_variant
from lineside.plugins.tensorrt import node_attributes

Node = tuple[str, dict[str, str | int]]


def kernels_of(activation: str, experts: int, chosen: int) -> tuple[Kernel, ...]:
    """What to define to TensorRT for a model: routing is compiled for its numbers of experts.

    Raises ValueError for numbers that the kernels do not hold.
    """
    routing, combining = routing_variant(experts, chosen), combining_variant(activation, experts)
    fixed: dict[str, Variant] = {ROUTE.name: routing, GROUP.name: routing, COMBINE.name: combining}
    return tuple(
        replace(kernel, variants=(fixed[kernel.name],)) if kernel.name in fixed else kernel
        for kernel in OPERATOR.kernels
    )


def moe_nodes(
    activation: str, experts: int, chosen: int, *, block: int | None, zeros: bool, many_tokens: bool
) -> Iterator[Node]:
    """Operator and attributes of each node in turn; their inputs and outputs have the kernels' names.

    `block`: of int4 weights; None: weights of the activation's type. Raises UnknownKernel, ValueError.
    """
    known = {kernel.name: kernel for kernel in OPERATOR.kernels}
    form = "" if block is None else "_int4_zeros" if zeros else "_int4"
    products = activation if block is None else f"{activation}-{block}"
    routing = node_attributes(routing_variant(experts, chosen))
    yield ROUTE.name, routing
    if many_tokens:
        yield GROUP.name, routing
    for step in ("gate_up", "down"):
        kernel = known[f"moe_{'grouped_' if many_tokens else ''}{step}{form}"]
        yield kernel.name, node_attributes(find_variant(kernel, products))
    if many_tokens:
        yield COMBINE.name, node_attributes(combining_variant(activation, experts))
