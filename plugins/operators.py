"""The list of all operators: what the table, the check and TensorRT's definitions go through."""

from __future__ import annotations

from collections.abc import Iterator

from lineside.plugins.causal_convolution.shapes import OPERATOR as CAUSAL_CONVOLUTION
from lineside.plugins.gated_delta_net.shapes import OPERATOR as GATED_DELTA_NET
from lineside.plugins.int4_matmul.shapes import OPERATOR as INT4_MATMUL
from lineside.plugins.moe.shapes import OPERATOR as MOE
from lineside.plugins.operator import Kernel, Operator, Variant

OPERATORS: tuple[Operator, ...] = (GATED_DELTA_NET, CAUSAL_CONVOLUTION, MOE, INT4_MATMUL)


class UnknownKernel(Exception):
    """No operator has a kernel or a variant of this name."""


def kernels() -> Iterator[Kernel]:
    """Every kernel of every operator, in the list's order."""
    for operator in OPERATORS:
        yield from operator.kernels


def find_kernel(name: str) -> Kernel:
    """The kernel called `name`. Raises UnknownKernel, which says what there is."""
    for kernel in kernels():
        if kernel.name == name:
            return kernel
    known = ", ".join(kernel.name for kernel in kernels()) or "none"
    raise UnknownKernel(f"there is no kernel {name!r}; there are: {known}")


def find_variant(kernel: Kernel, name: str) -> Variant:
    """The variant of `kernel` called `name`. Raises UnknownKernel, which says what there is."""
    for variant in kernel.variants:
        if variant.name == name:
            return variant
    known = ", ".join(variant.name for variant in kernel.variants)
    raise UnknownKernel(f"{kernel.name} has no variant {name!r}; it has: {known}")
