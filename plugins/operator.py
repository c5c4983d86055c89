"""What every operator's `shapes.py` offers: its tensors, its kernels, and how each is launched.

One description serves four users: the host tests (arguments and launch as integers), NVRTC and nvcc
(sources and macros), the check on a GPU (all of it), and TensorRT's ahead-of-time plugins (launch as
symbolic expressions). A launch function therefore uses only `+ - *` and the operations of `Arithmetic`
on dimensions, never `if`, so that it works on integers and on TensorRT's expressions alike.

The rules of ahead-of-time plugins that the kernels keep: one launch a node; arguments are the inputs'
pointers, then int32 scalars, then the outputs' pointers; no floating-point scalars (they are macros); no
workspace; at most 48 KiB of shared memory.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

SHARED_MEMORY_LIMIT = 48 * 1024
"""Bytes of shared memory a block may use: more needs an opt-in that ahead-of-time plugins do not document."""

Dimension = Any
"""An integer, or TensorRT's symbolic expression of one."""


class Arithmetic(Protocol):
    """What a launch function may do to dimensions besides `+ - *`."""

    def cdiv(self, numerator: Dimension, denominator: Dimension) -> Dimension:
        """Division rounded up."""
        ...

    def min(self, one: Dimension, other: Dimension) -> Dimension: ...

    def max(self, one: Dimension, other: Dimension) -> Dimension: ...


class Integers:
    """`Arithmetic` of plain integers."""

    def cdiv(self, numerator: int, denominator: int) -> int:
        return -(-numerator // denominator)

    def min(self, one: int, other: int) -> int:
        return min(one, other)

    def max(self, one: int, other: int) -> int:
        return max(one, other)


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One argument of a kernel: its name, what its numbers are, and its dimensions by name or size.

    `dtype` is a NumPy-like name (`float32`, `int32`, `uint8`) or `activation`, which each variant fixes to
    `float16` or `bfloat16`. `shape` holds names (`T`, `HV`) that are read from the inputs, fixed numbers,
    or what `+ - * //` make of names (`"HV*128"`), which `dimension` evaluates.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Grid and block in x, y, z, bytes of dynamic shared memory, and the int32 scalars in order."""

    grid: tuple[Dimension, Dimension, Dimension]
    block: tuple[int, int, int]
    shared_bytes: Dimension = 0
    scalars: tuple[Dimension, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One compilation of a kernel: the macros that bake sizes, constants and the activation's type."""

    name: str
    activation: str
    macros: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Numbers for one run: sizes by name, and inputs drawn for them."""

    name: str
    sizes: Mapping[str, int]
    inputs: Mapping[str, NDArray[Any]]
    tolerance: float
    """Largest error allowed, relative to the largest magnitude of each output."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One `extern "C" __global__` function with its variants, and all that launching and judging it needs."""

    name: str
    """The symbol, and the plugin's name in TensorRT and ONNX (namespace `lineside`)."""
    source: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    scalars: tuple[str, ...]
    variants: tuple[Variant, ...]
    launch: Callable[[Mapping[str, Dimension], Arithmetic, Variant], Launch]
    """From sizes by name (every name used in the inputs' shapes) to the launch."""
    naive: Callable[[Mapping[str, NDArray[Any]], Variant], Mapping[str, NDArray[Any]]]
    """The reference: inputs by name (any float dtype) to float32 outputs by name."""
    draw: Callable[[np.random.Generator, Mapping[str, int], Variant], Case]
    """Believable inputs for the sizes given."""
    bytes_moved: Callable[[Mapping[str, int], Variant], int]
    """What must cross the memory bus at least: the floor of the time on a given device."""
    flops: Callable[[Mapping[str, int], Variant], int]
    sizes: tuple[Mapping[str, int], ...]
    """The sizes the check times: real model shapes."""
    decode: bool
    """Whether it runs once a token: such a kernel may not spill registers."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One folder of `plugins/`: what `shapes.py` exports as `OPERATOR`."""

    name: str
    kernels: tuple[Kernel, ...]


def macros(variant: Variant) -> dict[str, str]:
    """Every macro a variant is compiled with: its own, and `ACTIVATION`, a type of `include/numbers.cuh`."""
    return {"ACTIVATION": variant.activation, **variant.macros}


def numpy_dtype(tensor: Tensor, variant: Variant) -> np.dtype[Any]:
    """What NumPy calls a tensor's numbers (`bfloat16` comes from ml_dtypes)."""
    name = variant.activation if tensor.dtype == "activation" else tensor.dtype
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def dimension(text: str | int, sizes: Mapping[str, Dimension]) -> Dimension:
    """One entry of a shape: a number, a name, or what `+ - * //` make of them (`"HV*128"`, `"(T+63)//64"`).

    Works on integers and on TensorRT's expressions alike.
    Raises ValueError for anything else, and KeyError for a name without a size.
    """
    if isinstance(text, int):
        return text
    return _evaluate(ast.parse(text, mode="eval").body, sizes)


_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def _evaluate(node: ast.expr, sizes: Mapping[str, Dimension]) -> Dimension:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return sizes[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_evaluate(node.left, sizes), _evaluate(node.right, sizes))
    raise ValueError(f"a dimension is made of names, numbers and + - * //, not {ast.unparse(node)!r}")


def sizes_of(kernel: Kernel, shapes: Mapping[str, Sequence[Dimension]]) -> dict[str, Dimension]:
    """Sizes by name, read from the inputs' shapes: every plain name where it first occurs.

    Integers are checked against each other and against fixed and computed entries; TensorRT's expressions
    cannot be. Raises ValueError naming the tensor that does not fit.
    """
    sizes: dict[str, Dimension] = {}
    for tensor in kernel.inputs:
        if len(shapes[tensor.name]) != len(tensor.shape):
            raise ValueError(f"{tensor.name} has shape {tuple(shapes[tensor.name])}, not {tensor.shape}")
        for text, size in zip(tensor.shape, shapes[tensor.name], strict=True):
            if isinstance(text, str) and text.isidentifier():
                sizes.setdefault(text, size)
    for tensor in kernel.inputs:
        wanted = [dimension(text, sizes) for text in tensor.shape]
        for want, size in zip(wanted, shapes[tensor.name], strict=True):
            if isinstance(want, int) and isinstance(size, int) and want != size:
                found = tuple(shapes[tensor.name])
                raise ValueError(f"{tensor.name} has shape {found}; {tensor.shape} asks for {tuple(wanted)}")
    return sizes


def output_shapes(
    kernel: Kernel, sizes: Mapping[str, Dimension], variant: Variant | None = None
) -> dict[str, tuple[Dimension, ...]]:
    """The shape of every output for the sizes that `sizes_of` read.

    A name that is no input's may be a macro of the variant that is a number (how many experts are chosen).
    """
    baked = variant.macros if variant else {}
    fixed = {name: int(value) for name, value in baked.items() if value.isdigit()}
    known = {**fixed, **sizes}
    return {tensor.name: tuple(dimension(text, known) for text in tensor.shape) for tensor in kernel.outputs}
