"""The list of all operators: what the table, the check and TensorRT's definitions go through."""

from __future__ import annotations

from collections.abc import Iterator

from lineside.plugins.operator import Kernel, Operator, Variant

OPERATORS: tuple[Operator, ...] = ()


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
