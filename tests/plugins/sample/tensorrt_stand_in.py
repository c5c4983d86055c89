"""A stand-in for TensorRT's native module, on which NVIDIA's own Python plugin layer runs unmodified.

The wheel `tensorrt-cu13-bindings` brings that layer; the library below it cannot be installed without a GPU's
software. What stands here is what the layer touches: names, enumerations, and expressions of dimensions that
stay symbols until `at` gives them numbers, as in an engine with dynamic shapes. `build` calls a definition in
the order of the layer's own methods; that order, and how the library itself behaves, is not observed here.
"""

from __future__ import annotations

import enum
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DataType = enum.Enum(
    "DataType", ["FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "FP8", "BF16", "INT64", "INT4", "FP4"]
)
DimensionOperation = enum.Enum(
    "DimensionOperation",
    ["SUM", "PROD", "MAX", "MIN", "SUB", "EQUAL", "LESS", "FLOOR_DIV", "CEIL_DIV"],
)
TensorFormat = enum.Enum("TensorFormat", ["LINEAR", "CHW4", "HWC"])
PluginFieldType = enum.Enum(
    "PluginFieldType",
    ["FLOAT16", "FLOAT32", "FLOAT64", "INT8", "INT16", "INT32", "CHAR", "UNKNOWN", "INT64"],
)
TensorRTPhase = enum.Enum("TensorRTPhase", ["BUILD", "RUNTIME"])
PluginArgType = enum.Enum("PluginArgType", ["INT"])
PluginArgDataType = enum.Enum("PluginArgDataType", ["INT8", "INT16", "INT32"])
QuickPluginCreationRequest = enum.Enum(
    "QuickPluginCreationRequest", ["UNKNOWN", "PREFER_JIT", "PREFER_AOT", "STRICT_JIT", "STRICT_AOT"]
)

OPERATIONS: dict[DimensionOperation, Callable[[int, int], int]] = {
    DimensionOperation.SUM: lambda a, b: a + b,
    DimensionOperation.PROD: lambda a, b: a * b,
    DimensionOperation.MAX: max,
    DimensionOperation.MIN: min,
    DimensionOperation.SUB: lambda a, b: a - b,
    DimensionOperation.EQUAL: lambda a, b: int(a == b),
    DimensionOperation.LESS: lambda a, b: int(a < b),
    DimensionOperation.FLOOR_DIV: lambda a, b: a // b,
    DimensionOperation.CEIL_DIV: lambda a, b: -(-a // b),
}


class IDimensionExpr:
    """A symbol, a number, or an operation on two of them."""

    def __init__(self, evaluate: Callable[[Mapping[str, int]], int], constant: bool = False) -> None:
        self.at = evaluate
        self._constant = constant

    def is_constant(self) -> bool:
        return self._constant

    def get_constant_value(self) -> int:
        assert self._constant
        return self.at({})


class IExprBuilder:
    """Makes expressions, while shapes are being worked out."""

    def constant(self, value: int) -> IDimensionExpr:
        return IDimensionExpr(lambda sizes: value, constant=True)

    def operation(self, op: DimensionOperation, one: IDimensionExpr, other: IDimensionExpr) -> IDimensionExpr:
        assert isinstance(one, IDimensionExpr)
        assert isinstance(other, IDimensionExpr)
        return IDimensionExpr(
            lambda sizes: OPERATIONS[op](one.at(sizes), other.at(sizes)),
            one.is_constant() and other.is_constant(),
        )


class DimsExprs(list):
    def __init__(self, length: int) -> None:
        super().__init__([None] * length)


class Dims(tuple):
    MAX_DIMS = 8


class PluginTensorDesc:
    def __init__(self) -> None:
        self.dims, self.type, self.format, self.scale = Dims(), None, None, 1.0


class DynamicPluginTensorDesc:
    def __init__(self, desc: PluginTensorDesc) -> None:
        self.desc = desc
        self.min = self.opt = self.max = desc.dims


class PluginField:
    def __init__(self, name: str, data: Any, type: PluginFieldType) -> None:
        self.name, self.data, self.type = name, data, type


class PluginFieldCollection(list):
    pass


class _Empty:
    """An interface of the native module, of which only the Python side's methods matter here."""

    def __init__(self) -> None:
        pass


class Logger:
    WARNING = 2

    def log(self, severity: int, message: str) -> None:
        pass


class PluginRegistry:
    def __init__(self) -> None:
        self.creators: dict[tuple[str, str, str], Any] = {}

    def register_creator(self, creator: Any, namespace: str) -> bool:
        self.creators[creator.name, creator.plugin_version, namespace] = creator
        return True

    def get_creator(self, name: str, version: str, namespace: str) -> Any:
        return self.creators.get((name, version, namespace))


def _native() -> types.ModuleType:
    module = types.ModuleType("tensorrt")
    registry = PluginRegistry()
    names = [
        *(DataType, DimensionOperation, TensorFormat, PluginFieldType, TensorRTPhase, PluginArgType),
        *(PluginArgDataType, QuickPluginCreationRequest, IDimensionExpr, IExprBuilder, DimsExprs, Dims),
        *(PluginTensorDesc, DynamicPluginTensorDesc, PluginField, PluginFieldCollection, Logger),
    ]
    for known in names:
        setattr(module, known.__name__, known)
    for name in (
        *("IPluginV3", "IPluginV3QuickCore", "IPluginV3QuickBuild", "IPluginV3QuickAOTBuild"),
        *("IPluginV3QuickRuntime", "IPluginCreatorV3Quick", "ISymExpr", "ITensor"),
    ):
        setattr(module, name, type(name, (_Empty,), {}))
    module.get_plugin_registry = lambda: registry  # type: ignore[attr-defined]
    module.__version__ = "10.16.1 (stand-in)"  # type: ignore[attr-defined]
    return module


def plugin_layer() -> Path | None:
    """Where NVIDIA's plugin layer lies in this environment; None where its wheel is not installed."""
    found = importlib.util.find_spec("tensorrt_bindings")
    for place in (found.submodule_search_locations if found else None) or ():
        if (Path(place) / "plugin" / "__init__.py").is_file():
            return Path(place) / "plugin"
    return None


@contextmanager
def installed() -> Iterator[types.ModuleType]:
    """`import tensorrt` and `tensorrt.plugin` work inside, each time with nothing defined yet."""
    layer = plugin_layer()
    assert layer is not None
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "tensorrt"}
    native = _native()
    native.__path__ = [str(layer.parent)]
    sys.modules["tensorrt"] = native
    try:
        with warnings.catch_warnings():
            # The layer's own docstrings have escapes that newer Pythons warn of.
            warnings.simplefilter("ignore")
            import tensorrt.plugin

        yield tensorrt.plugin
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "tensorrt"]:
            del sys.modules[name]
        sys.modules.update(before)


class LaunchParams:
    """Where the layer puts the launch."""

    grid_x: Any
    grid_y: Any
    grid_z: Any
    block_x: Any
    block_y: Any
    block_z: Any
    shared_mem: Any


class SymbolicArguments(dict[int, Any]):
    """Where the layer puts the scalars."""

    nbSymExprs = 0  # noqa: N815 - the layer's name


@dataclass(frozen=True)
class Built:
    """What TensorRT would keep of a node: types and symbolic shapes, the launch, the scalars and the PTX."""

    output_types: list[DataType]
    output_shapes: list[list[IDimensionExpr]]
    launch: LaunchParams
    scalars: list[Any]
    aliased: list[int]
    kernel_name: str
    ptx: str

    def shapes_at(self, sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
        return [tuple(size.at(sizes) for size in shape) for shape in self.output_shapes]

    def grid_at(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(getattr(self.launch, f"grid_{axis}").expr.at(sizes) for axis in "xyz")

    def block_at(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(getattr(self.launch, f"block_{axis}").expr.at(sizes) for axis in "xyz")

    def shared_at(self, sizes: Mapping[str, int]) -> int:
        return self.launch.shared_mem.expr.at(sizes)

    def scalars_at(self, sizes: Mapping[str, int]) -> list[int]:
        return [scalar.expr.at(sizes) for scalar in self.scalars]


def build(
    name: str, types: Sequence[DataType], shapes: Sequence[Sequence[str | int]], attributes: Mapping[str, str]
) -> Built:
    """Takes `lineside::name` through its building. A dimension given as a name stays a symbol."""
    import tensorrt as trt

    creator = trt.get_plugin_registry().get_creator(name, "1", "lineside")
    fields = PluginFieldCollection(
        PluginField(key, np.frombuffer(value.encode() + b"\0", np.int8), PluginFieldType.CHAR)
        for key, value in attributes.items()
    )
    request = QuickPluginCreationRequest.STRICT_AOT
    plugin = creator.create_plugin(name, "lineside", fields, TensorRTPhase.BUILD, request)
    output_types = plugin.get_output_data_types(list(types), [len(shape) for shape in shapes])
    builder = IExprBuilder()
    expressions = [[_dimension(size) for size in shape] for shape in shapes]
    output_shapes = plugin.get_output_shapes(expressions, [], builder)
    described = [_described(kind, len(shape)) for kind, shape in zip(types, shapes, strict=True)]
    described += [
        _described(kind, len(shape)) for kind, shape in zip(output_types, output_shapes, strict=True)
    ]
    combination = plugin.get_supported_format_combinations(described, len(types))
    assert [one.type for one in combination] == [*types, *output_types]
    plugin.configure_plugin(described[: len(types)], described[len(types) :])
    plugin.set_tactic(0)
    launch, arguments = LaunchParams(), SymbolicArguments()
    plugin.get_launch_params(expressions, described, len(types), launch, arguments, builder)
    assert sorted(arguments) == list(range(arguments.nbSymExprs))
    inputs = [one.desc for one in described]
    kernel_name, ptx = plugin.clone().get_kernel(inputs[: len(types)], inputs[len(types) :])
    return Built(
        output_types=output_types,
        output_shapes=output_shapes,
        launch=launch,
        scalars=[arguments[index] for index in range(arguments.nbSymExprs)],
        aliased=[plugin.get_aliased_input(index) for index in range(plugin.get_num_outputs())],
        kernel_name=kernel_name,
        ptx=ptx.decode(),
    )


def _dimension(size: str | int) -> IDimensionExpr:
    if isinstance(size, int):
        return IExprBuilder().constant(size)
    return IDimensionExpr(lambda sizes: sizes[size])


def _described(kind: DataType, rank: int) -> DynamicPluginTensorDesc:
    desc = PluginTensorDesc()
    desc.type, desc.format, desc.dims = kind, TensorFormat.LINEAR, Dims([-1] * rank)
    return DynamicPluginTensorDesc(desc)
