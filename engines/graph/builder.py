"""Writes an ONNX graph node by node, with weights inside the file or streamed to a file beside it.

Knows ONNX; does not know the model, dialects or checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 23
IR_VERSION = 11
MICROSOFT = "com.microsoft"

ElementType = Literal["float32", "float16", "int64", "int32", "bool"]
Shape = Sequence[int | str]
Array = NDArray[Any]

_ELEMENT_TYPES: dict[ElementType, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}
_ALIGNMENT = 4096  # so that a runtime can map each weight straight from the file
PART_BYTES = 4 << 30
_INLINE_BYTES = 1024  # smaller tensors stay in the graph: runtimes read shapes from them while loading


class WeightsFile:
    """The file of raw weights beside a graph, written as the weights come.

    A large model has several: an archive's member ends at 8 GB, and a download goes on from a file's start.
    """

    def __init__(self, path: Path, part_bytes: int = PART_BYTES) -> None:
        self.paths: list[Path] = []
        self._path = path
        self._part_bytes = part_bytes
        self._file: BinaryIO | None = None

    def __enter__(self) -> WeightsFile:
        self._begin_part()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, tensor: TensorProto, wanted: int, chunks: Iterable[Array]) -> int:
        """Writes `chunks`, to be `wanted` bytes, makes `tensor` point at them, and gives what was written."""
        if self._file is None:
            raise RuntimeError("the weights file is not open")
        if self._file.tell() and self._file.tell() + wanted > self._part_bytes:
            self._file.close()
            self._begin_part()
        self._file.write(b"\0" * (-self._file.tell() % _ALIGNMENT))
        start = self._file.tell()
        for chunk in chunks:
            self._file.write(np.ascontiguousarray(chunk).data)
        length = self._file.tell() - start
        tensor.data_location = TensorProto.EXTERNAL
        place = (("location", self.paths[-1].name), ("offset", str(start)), ("length", str(length)))
        for key, value in place:
            tensor.external_data.add(key=key, value=value)
        return length

    def _begin_part(self) -> None:
        count = len(self.paths)
        path = self._path if not count else self._path.with_name(f"{self._path.name}.{count}")
        self._file = path.open("wb")
        self.paths.append(path)


class GraphBuilder:
    """One graph being written. Values are named by strings; scopes prefix the names of nodes and weights."""

    opset = OPSET

    def __init__(self, name: str, weights: WeightsFile | None = None) -> None:
        """`weights`: where tensors above a kilobyte go; None keeps them inside the graph."""
        self.name = name
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._initializers: list[TensorProto] = []
        self._by_name: dict[str, TensorProto] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names: set[str] = set()
        self._scope: tuple[str, ...] = ()

    @contextmanager
    def scope(self, *parts: str) -> Iterator[None]:
        """Names given inside begin with `parts`: profiles and error messages say where a node belongs."""
        outer = self._scope
        self._scope = (*outer, *parts)
        try:
            yield
        finally:
            self._scope = outer

    @property
    def place(self) -> tuple[str, ...]:
        """The scopes one is in."""
        return self._scope

    def subgraph(self, name: str) -> GraphBuilder:
        """A builder for the body of a control-flow node; its names do not clash with this graph's."""
        body = GraphBuilder(self._unique(name))
        body._names = self._names
        body._scope = (*self._scope, name)
        return body

    def fresh(self, name: str) -> str:
        """A name nothing else has, for an input of a subgraph."""
        return self._unique(name)

    def input(self, name: str, kind: ElementType, shape: Shape) -> str:
        """Declares an input."""
        self._names.add(name)
        self._inputs.append(helper.make_tensor_value_info(name, _ELEMENT_TYPES[kind], list(shape)))
        return name

    def output(self, name: str, value: str, kind: ElementType, shape: Shape) -> None:
        """Makes `value` an output called `name`."""
        if value != name:
            self._rename(value, name)
        self._outputs.append(helper.make_tensor_value_info(name, _ELEMENT_TYPES[kind], list(shape)))

    def weight(self, name: str, array: Array) -> str:
        """Adds a tensor of the model. It is not kept: with a weights file it is written out at once."""
        return self.weight_from(name, array.dtype, array.shape, (array,))

    def weight_from(self, name: str, kind: Any, shape: Sequence[int], chunks: Iterable[Array]) -> str:
        """Adds a tensor of type `kind` whose values come in `chunks`, one behind the other."""
        kind = np.dtype(kind)
        tensor = TensorProto(name=self._unique(name), data_type=helper.np_dtype_to_tensor_dtype(kind))
        tensor.dims.extend(shape)
        wanted = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        if self._weights is not None and wanted > _INLINE_BYTES:
            written = self._weights.append(tensor, wanted, chunks)
        else:
            tensor.raw_data = b"".join(np.ascontiguousarray(chunk).tobytes() for chunk in chunks)
            written = len(tensor.raw_data)
        if written != wanted:
            raise ValueError(f"{tensor.name} got {written} bytes for {wanted}")
        self._initializers.append(tensor)
        self._by_name[str(tensor.name)] = tensor
        return str(tensor.name)

    def alias(self, weight: str, shape: Sequence[int]) -> str:
        """The same stored bytes as a tensor of another shape: beside the graph they are there only once."""
        tensor = TensorProto()
        tensor.CopyFrom(self._by_name[weight])
        tensor.name = self._unique(f"{weight}_as_{len(shape)}d", scoped=False)
        del tensor.dims[:]
        tensor.dims.extend(shape)
        self._initializers.append(tensor)
        return str(tensor.name)

    def constant(self, values: Array) -> str:
        """A small constant; equal ones are stored once."""
        key = (str(values.dtype), values.shape, values.tobytes())
        if key not in self._constants:
            name = self._unique("constant", scoped=False)
            self._initializers.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
            self._constants[key] = name
        return self._constants[key]

    def integers(self, *values: int) -> str:
        """A constant int64 vector."""
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """A constant float32 scalar."""
        return self.constant(np.array(value, np.float32))

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Adds a node with one output and gives its name; an empty input is an optional one left out."""
        return self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Adds a node with several outputs and gives their names."""
        return self.ops_at(kind, *inputs, wanted=range(outputs), domain=domain, **attributes)

    def ops_at(
        self, kind: str, *inputs: str, wanted: Sequence[int], domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Adds a node of which only the `wanted` outputs, by place, are used; gives their names."""
        name = self._unique(kind)
        results = [""] * (max(wanted) + 1)
        for place in wanted:
            results[place] = name if place == 0 else f"{name}:{place}"
        self._nodes.append(
            helper.make_node(kind, list(inputs), results, name=name, domain=domain, **attributes)
        )
        return tuple(results[place] for place in wanted)

    def cast(self, value: str, kind: ElementType) -> str:
        """The same numbers as another type."""
        return self.op("Cast", value, to=_ELEMENT_TYPES[kind])

    def split(self, value: str, *sizes: int) -> tuple[str, ...]:
        """Cuts the last axis into pieces of these sizes."""
        return self.ops("Split", value, self.integers(*sizes), outputs=len(sizes), axis=-1)

    def reshape(self, value: str, *shape: int) -> str:
        """Reshapes; 0 keeps an axis, −1 is what is left."""
        return self.op("Reshape", value, self.integers(*shape))

    def graph(self) -> onnx.GraphProto:
        """What has been written so far, as a graph."""
        return helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, initializer=self._initializers
        )

    def model(self) -> onnx.ModelProto:
        """The whole model, with the operator sets it uses."""
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [
            helper.make_opsetid(domain, 1) for domain in sorted({n.domain for n in self._nodes} - {""})
        ]
        return helper.make_model(
            self.graph(), opset_imports=opsets, ir_version=IR_VERSION, producer_name="lineside"
        )

    def _unique(self, name: str, *, scoped: bool = True) -> str:
        base = "/".join((*self._scope, name)) if scoped else name
        candidate, count = base, 1
        while candidate in self._names:
            count += 1
            candidate = f"{base}_{count}"
        self._names.add(candidate)
        return candidate

    def _rename(self, old: str, new: str) -> None:
        """Gives a node's result the name the contract asks for, instead of copying it through an Identity."""
        for node in self._nodes:
            for i, result in enumerate(node.output):
                if result == old:
                    node.output[i] = new
            for i, used in enumerate(node.input):
                if used == old:
                    node.input[i] = new
