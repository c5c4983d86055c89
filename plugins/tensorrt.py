"""Our kernels as TensorRT's ahead-of-time Python plugins: one definition for all, made from the contract.

TensorRT calls a definition while it builds an engine, for shapes and types first and then for the launch and
the PTX, and keeps the PTX in the engine: what runs the engine needs no Python and no plugin library. A node
names its kernel (the operator, in namespace `lineside`) and its variant (an attribute). A state goes in and
comes out as two tensors; nothing is aliased. Needs `import tensorrt` to work, and no GPU until TensorRT does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any

from lineside.plugins.operator import (
    Dimension,
    Integers,
    Kernel,
    Launch,
    Tensor,
    Variant,
    output_shapes,
    sizes_of,
)
from lineside.plugins.operators import UnknownKernel, find_variant
from lineside.plugins.ptx.compile import compile_ptx, default_cache

NAMESPACE = "lineside"

# TensorRT's plugins take neither unsigned bytes nor booleans: the same bytes travel as INT8.
_DATA_TYPES = {
    "float32": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "int32": "INT32",
    "int8": "INT8",
    "uint8": "INT8",
}


class TensorRTMissing(Exception):
    """TensorRT cannot be imported here, or is too old for ahead-of-time plugins."""


class AlreadyDefined(Exception):
    """This process has defined the plugins before, perhaps for another chip."""


class WrongNode(Exception):
    """A node of the graph does not give a kernel what it takes."""


def node_attributes(variant: Variant) -> dict[str, str | int]:
    """What an ONNX node needs besides its operator's name for TensorRT to find our plugin."""
    return {"plugin_namespace": NAMESPACE, "plugin_version": "1", "aot": 1, "variant": variant.name}


def define(kernels: Iterable[Kernel], target: str, cache: Path | None = None) -> tuple[str, ...]:
    """Defines every kernel to TensorRT for `target` (`sm_87`), once in a process; returns the plugins' ids.

    Call it before a graph is parsed. `cache`: where PTX is kept.
    Raises TensorRTMissing, AlreadyDefined, and TensorRT's ValueError for what it cannot take.
    """
    trt, plugin = _tensorrt()
    defined = []
    for kernel in kernels:
        if hasattr(getattr(plugin.op, NAMESPACE, None), kernel.name):
            raise AlreadyDefined(
                f"{NAMESPACE}::{kernel.name} is defined already: build for another chip in another process"
            )
        definition = _Definition(trt, plugin, kernel, target, cache or default_cache())
        defined.append(definition.register())
    return tuple(defined)


def _tensorrt() -> tuple[ModuleType, ModuleType]:
    try:
        import tensorrt
        import tensorrt.plugin
    except (ImportError, OSError) as missing:
        raise TensorRTMissing(
            f"TensorRT cannot be loaded ({missing}): on Jetson it comes with JetPack, elsewhere "
            "pip install 'lineside[tensorrt]'"
        ) from missing
    if not hasattr(tensorrt.plugin, "KernelLaunchParams"):
        raise TensorRTMissing(
            f"TensorRT {getattr(tensorrt, '__version__', '?')} has no ahead-of-time plugins: 10.9 has them"
        )
    return tensorrt, tensorrt.plugin


class Symbol:
    """A TensorRT expression with the arithmetic of a number: integers may stand on its left as well."""

    def __init__(self, plugin: ModuleType, expression: Any) -> None:
        self._plugin = plugin
        self.expression = expression

    def _with(self, other: Dimension, combine: Callable[[Any, Any], Any], swapped: bool) -> Symbol:
        mine, theirs = self.expression, expression(self._plugin, other)
        return Symbol(self._plugin, combine(theirs, mine) if swapped else combine(mine, theirs))

    def __add__(self, other: Dimension) -> Symbol:
        return self._with(other, lambda a, b: a + b, swapped=False)

    def __radd__(self, other: Dimension) -> Symbol:
        return self._with(other, lambda a, b: a + b, swapped=True)

    def __sub__(self, other: Dimension) -> Symbol:
        return self._with(other, lambda a, b: a - b, swapped=False)

    def __rsub__(self, other: Dimension) -> Symbol:
        return self._with(other, lambda a, b: a - b, swapped=True)

    def __mul__(self, other: Dimension) -> Symbol:
        return self._with(other, lambda a, b: a * b, swapped=False)

    def __rmul__(self, other: Dimension) -> Symbol:
        return self._with(other, lambda a, b: a * b, swapped=True)

    def __floordiv__(self, other: Dimension) -> Symbol:
        return self._with(other, lambda a, b: a // b, swapped=False)

    def __rfloordiv__(self, other: Dimension) -> Symbol:
        return self._with(other, lambda a, b: a // b, swapped=True)

    def __bool__(self) -> bool:
        raise TypeError("a dimension is not known while an engine is built: a launch may not depend on `if`")


class Symbols:
    """`Arithmetic` of TensorRT's expressions; of integers where both sides are."""

    def __init__(self, plugin: ModuleType) -> None:
        self._plugin = plugin

    def cdiv(self, numerator: Dimension, denominator: Dimension) -> Dimension:
        """Division rounded up."""
        return self._apply(self._plugin.cdiv, Integers().cdiv, numerator, denominator)

    def min(self, one: Dimension, other: Dimension) -> Dimension:
        """The smaller."""
        return self._apply(self._plugin.min, Integers().min, one, other)

    def max(self, one: Dimension, other: Dimension) -> Dimension:
        """The larger."""
        return self._apply(self._plugin.max, Integers().max, one, other)

    def _apply(
        self,
        symbolic: Callable[[Any, Any], Any],
        plain: Callable[[int, int], int],
        one: Dimension,
        other: Dimension,
    ) -> Dimension:
        if isinstance(one, int) and isinstance(other, int):
            return plain(one, other)
        return Symbol(self._plugin, symbolic(expression(self._plugin, one), expression(self._plugin, other)))


def expression(plugin: ModuleType, size: Dimension) -> Any:
    """TensorRT's expression of a dimension, whether that is an integer or a `Symbol` already."""
    return size.expression if isinstance(size, Symbol) else plugin.ShapeExpr(size)


class _Definition:
    """One kernel's two functions, with the signatures that TensorRT reads."""

    def __init__(self, trt: ModuleType, plugin: ModuleType, kernel: Kernel, target: str, cache: Path) -> None:
        self._trt = trt
        self._plugin = plugin
        self._kernel = kernel
        self._target = target
        self._cache = cache

    def register(self) -> str:
        """Gives both functions to TensorRT; returns the plugin's id."""
        plugin, kernel = self._plugin, self._kernel
        identity = f"{NAMESPACE}::{kernel.name}"
        described = [(tensor.name, plugin.TensorDesc) for tensor in kernel.inputs]
        outputs = GenericAlias(tuple, (plugin.TensorDesc,) * len(kernel.outputs))
        launched = GenericAlias(tuple, (str, str, plugin.KernelLaunchParams, plugin.SymIntExprs))

        def describe(*arguments: Any, **attributes: Any) -> Any:
            return self._describe(*arguments, **attributes)

        def implement(*arguments: Any) -> Any:
            return self._implement(*arguments)

        _sign(describe, [*described, ("variant", str)], outputs)
        _sign(implement, [*described, ("variant", str), ("outputs", outputs), ("tactic", int)], launched)
        plugin.register(identity)(describe)
        plugin.aot_impl(identity)(implement)
        return identity

    def _describe(self, *inputs: Any, variant: str) -> Any:
        """The outputs' shapes and types for the inputs'; shapes may be placeholders."""
        chosen = self._variant(variant)
        self._check_types(inputs, chosen)
        shapes = output_shapes(self._kernel, self._sizes(inputs), chosen)
        return tuple(
            self._plugin.from_shape_expr(
                tuple(expression(self._plugin, size) for size in shapes[tensor.name]),
                self._data_type(tensor, chosen),
            )
            for tensor in self._kernel.outputs
        )

    def _implement(self, *arguments: Any) -> tuple[str, str, Any, Any]:
        """The kernel's name, its PTX, how it is launched and its scalars."""
        count = len(self._kernel.inputs)
        inputs, variant = arguments[:count], self._variant(arguments[count])
        self._check_types(inputs, variant)
        launch = self._kernel.launch(self._sizes(inputs), Symbols(self._plugin), variant)
        if len(launch.scalars) != len(self._kernel.scalars):
            raise WrongNode(
                f"{self._kernel.name} names {len(self._kernel.scalars)} scalars, gives {len(launch.scalars)}"
            )
        compiled = compile_ptx(self._kernel, variant, self._target, self._cache)
        return self._kernel.name, compiled.ptx, self._launch_params(launch), self._scalars(launch)

    def _launch_params(self, launch: Launch) -> Any:
        params = self._plugin.KernelLaunchParams()
        for axis, blocks, threads in zip("xyz", launch.grid, launch.block, strict=True):
            setattr(params, f"grid_{axis}", expression(self._plugin, blocks))
            setattr(params, f"block_{axis}", expression(self._plugin, threads))
        params.shared_mem = expression(self._plugin, launch.shared_bytes)
        return params

    def _scalars(self, launch: Launch) -> Any:
        scalars = self._plugin.SymIntExprs(len(launch.scalars))
        for index, scalar in enumerate(launch.scalars):
            scalars[index] = self._plugin.SymInt32(expression(self._plugin, scalar))
        return scalars

    def _variant(self, name: str) -> Variant:
        try:
            # The parser hands over the text as C does, with its end marked.
            return find_variant(self._kernel, name.rstrip("\0"))
        except UnknownKernel as unknown:
            raise WrongNode(str(unknown)) from unknown

    def _sizes(self, inputs: tuple[Any, ...]) -> dict[str, Dimension]:
        shapes = {
            tensor.name: [Symbol(self._plugin, size) for size in given.shape_expr]
            for tensor, given in zip(self._kernel.inputs, inputs, strict=True)
        }
        try:
            return sizes_of(self._kernel, shapes)
        except ValueError as wrong:
            raise WrongNode(f"{self._kernel.name}: {wrong}") from wrong

    def _check_types(self, inputs: tuple[Any, ...], variant: Variant) -> None:
        for tensor, given in zip(self._kernel.inputs, inputs, strict=True):
            wanted = self._data_type(tensor, variant)
            if given.dtype != wanted:
                raise WrongNode(
                    f"{self._kernel.name} ({variant.name}): {tensor.name} is {given.dtype}, must be {wanted}"
                )

    def _data_type(self, tensor: Tensor, variant: Variant) -> Any:
        name = variant.activation if tensor.dtype == "activation" else tensor.dtype
        if name not in _DATA_TYPES:
            raise WrongNode(
                f"{self._kernel.name}: {tensor.name} is {name}, which TensorRT's plugins do not take"
            )
        return getattr(self._trt.DataType, _DATA_TYPES[name])


def _sign(function: Any, parameters: list[tuple[str, Any]], returned: Any) -> None:
    """Gives `function` the signature that TensorRT's layer inspects, as if it were written so."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kind, annotation=annotation) for name, annotation in parameters],
        return_annotation=returned,
    )
