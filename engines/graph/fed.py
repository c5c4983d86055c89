"""A graph whose weights are fed to it: inputs whose bytes lie in a file beside, instead of values inside.

Two graphs described over one shelf share one copy of the weights, and whoever compiles them never holds the
weights at all. The values come by name from a source, whatever a description passes along: it may be walked
with a checkpoint that has shapes only. Knows names and bytes; does not know TensorRT or the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from lineside.engines.graph.builder import Array, ElementType, GraphBuilder, Shape
from lineside.engines.quantise.blocks import BlockForm, Packed

OPSET = 24  # the first with TensorScatter, the cache's update
OURS = "lineside"
"""The domain of nodes that are our own kernels, and the namespace of the plugins that they become."""
KEPT_INSIDE_BYTES = 4096
"""Smaller weights are part of the graph: a compiler may fold them, and an input each would be a nuisance."""

FedKind = Literal["float32", "float16", "int8", "int4", "float8e4m3", "float4e2m1"]
Chunks = Callable[[], Iterable[NDArray[Any]]]

_FED_KINDS: dict[FedKind, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int8": TensorProto.INT8,
    "int4": TensorProto.INT4,
    "float8e4m3": TensorProto.FLOAT8E4M3FN,
    "float4e2m1": TensorProto.FLOAT4E2M1,
}
_BITS: dict[FedKind, int] = {
    "float32": 32,
    "float16": 16,
    "int8": 8,
    "int4": 4,
    "float8e4m3": 8,
    "float4e2m1": 4,
}


def fed_bytes(kind: FedKind, shape: Sequence[int]) -> int:
    """What a fed weight takes; two 4-bit values lie in a byte, the first in its low half."""
    return -(-int(np.prod(shape, dtype=np.int64)) * _BITS[kind] // 8)


@dataclass(frozen=True, slots=True)
class Dense:
    """A weight [out, in] of plain numbers. `turned`: whether `rows` come as [in, out], as products hold them.

    `rows(start, stop)`: along the first axis as held, float32 or float16.
    """

    shape: tuple[int, int]
    turned: bool
    rows: Callable[[int, int], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Blocks:
    """A weight [out, in] in blocks. `read(start, stop)`: those of its blocks along `in`, of every row."""

    shape: tuple[int, int]
    form: BlockForm
    read: Callable[[int, int], Packed]


@dataclass(frozen=True, slots=True)
class GivenExperts:
    """The two weights of `count` experts: gate and up rows interleaved, [2·inner, hidden], and down.

    `gate_up(i)` and `down(i)` give one expert's, each as it is stored.
    """

    count: int
    inner: int
    hidden: int
    gate_up: Callable[[int], Dense | Blocks]
    down: Callable[[int], Dense | Blocks]


class WeightSource(Protocol):
    """Where a fed graph's weights come from, by the names that they have in it."""

    def small(self, name: str, shape: Sequence[int]) -> Array:
        """A norm's scale, a bias, a convolution: float32 of this shape."""
        ...

    def product(self, name: str, shape: tuple[int, int]) -> Dense | Blocks:
        """A linear layer's weight, [out, in]."""
        ...

    def table(self, name: str, shape: tuple[int, int]) -> Dense | Blocks:
        """A table, [rows, width]."""
        ...

    def experts(self, name: str, count: int, inner: int, hidden: int) -> GivenExperts:
        """A mixture's experts."""
        ...


class Shelf(Protocol):
    """Takes each weight once, however many graphs ask for it."""

    def put(self, name: str, kind: FedKind, shape: Sequence[int], chunks: Chunks) -> None:
        """Writes a weight's bytes, unless it has them."""
        ...


@dataclass(frozen=True, slots=True)
class Declared:
    """A result of a node that only we know: axes are numbers or the contract's names."""

    name: str
    kind: ElementType
    shape: tuple[int | str, ...]


class FedGraph(GraphBuilder):
    """A `GraphBuilder` whose weights come from `source` by name.

    `shelf`: takes the larger weights, which become inputs; None keeps them inside, for a runtime that cannot
    be fed 4-bit numbers. `baked`: inputs that are constants here; `sizes`: axes that are fixed.
    """

    opset = OPSET

    def __init__(
        self,
        name: str,
        source: WeightSource,
        shelf: Shelf | None,
        *,
        baked: Mapping[str, Array] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(name)
        self.source = source
        self._shelf = shelf
        self._baked = dict(baked or {})
        self._sizes = dict(sizes or {})
        self.fed: list[str] = []
        self.declared: list[Declared] = []

    def input(self, name: str, kind: ElementType, shape: Shape) -> str:
        """Declares an input, or gives the constant that is baked in its place."""
        if name in self._baked:
            return self.constant(self._baked[name])
        fixed = [self._sizes.get(size, size) if isinstance(size, str) else size for size in shape]
        return super().input(name, kind, fixed)

    def output(self, name: str, value: str, kind: ElementType, shape: Shape) -> None:
        """Makes `value` an output called `name`; axes of fixed size are said so."""
        fixed = [self._sizes.get(size, size) if isinstance(size, str) else size for size in shape]
        super().output(name, value, kind, fixed)

    def weight(self, name: str, array: Array) -> str:
        """The small weight that the source has under this name, of the shape of `array`, not its values."""
        unique = self.fresh(name)
        return self._inside(unique, self.source.small(unique, array.shape))

    def derived(self, name: str, shape: Sequence[int], change: Callable[[Array], Array]) -> str:
        """A small weight as something else is computed from what is stored under its name."""
        unique = self.fresh(name)
        return self._inside(unique, change(self.source.small(unique, shape)))

    def ours(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[Declared],
        attributes: Mapping[str, Any],
    ) -> None:
        """Adds a node of our own domain whose results have these names and types."""
        name = self.fresh(kind)
        results = [one.name for one in outputs]
        self._nodes.append(
            helper.make_node(kind, list(inputs), results, name=name, domain=OURS, **attributes)
        )
        self.declared.extend(outputs)

    def feed(self, name: str, kind: FedKind, shape: Sequence[int], chunks: Chunks) -> str:
        """A large weight under a name that `fresh` gave: an input whose bytes the shelf keeps."""
        if self._shelf is None or fed_bytes(kind, shape) <= KEPT_INSIDE_BYTES:
            raw = b"".join(np.ascontiguousarray(chunk).tobytes() for chunk in chunks())
            tensor = TensorProto(name=name, data_type=_FED_KINDS[kind], raw_data=raw)
            tensor.dims.extend(shape)
            if len(raw) != fed_bytes(kind, shape):
                raise ValueError(f"{name} got {len(raw)} bytes for {fed_bytes(kind, shape)}")
            self._keep(tensor)
            return name
        self._shelf.put(name, kind, shape, chunks)
        self._inputs.append(helper.make_tensor_value_info(name, _FED_KINDS[kind], list(shape)))
        self.fed.append(name)
        return name

    def graph(self) -> onnx.GraphProto:
        """The graph without inputs that nothing reads: a compiler would ask for them all the same."""
        graph = super().graph()
        used = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
        kept = [one for one in graph.input if one.name in used]
        del graph.input[:]
        graph.input.extend(kept)
        return graph

    def _inside(self, name: str, values: Array) -> str:
        tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype))
        tensor.dims.extend(values.shape)
        tensor.raw_data = np.ascontiguousarray(values).tobytes()
        self._keep(tensor)
        return name

    def _keep(self, tensor: TensorProto) -> None:
        self._initializers.append(tensor)
        self._by_name[str(tensor.name)] = tensor
