"""The weights of a bundle's ONNX graph by name, in the forms they are stored in.

A description walked in another dialect gives its weights the same names, so a bundle that was built for ONNX
Runtime is all that compiling needs: no checkpoint, and integers stay the integers that were chosen and
measured. Knows the layouts of `graph/dialects/stored.py`; does not know TensorRT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lineside.engines.errors import IncompatibleBundle
from lineside.engines.graph.builder import Array
from lineside.engines.graph.fed import Blocks, Dense, GivenExperts
from lineside.engines.quantise.blocks import BlockForm, Packed
from lineside.engines.shards import Array as Rows

_BLOCK_OPERATORS = ("MatMulNBits", "GatherBlockQuantized", "QMoE")


@dataclass(frozen=True, slots=True)
class _Stored:
    """How a weight is held in integers, and the names of what belongs to it."""

    form: BlockForm
    scales: str
    zeros: str


class ShapesOnly:
    """A checkpoint that has shapes only (`TensorSource`): a fed graph's weights come from elsewhere."""

    def __contains__(self, name: str) -> bool:
        return False

    def rows(self, name: str, shape: tuple[int, ...], start: int, stop: int) -> Rows:
        """Zeros."""
        return np.zeros((stop - start, *shape[1:]), np.float32)

    def read(self, name: str, shape: tuple[int, ...]) -> Rows:
        """Zeros."""
        return np.zeros(shape, np.float32)


class StoredGraph:
    """A bundle's graph as a source of weights (`WeightSource`). Nothing is read before it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tensors: dict[str, TensorProto] = {}
        self._forms: dict[str, _Stored] = {}
        try:
            model = onnx.load(path, load_external_data=False)
        except (OSError, DecodeError) as error:
            raise self._refuse(f"it cannot be read ({error})") from error
        for tensor in model.graph.initializer:
            self._tensors[tensor.name] = tensor
        for node in model.graph.node:
            if node.op_type in _BLOCK_OPERATORS:
                self._note_forms(node)
        # Columns of a product that were not asked for with it: see `product`.
        self._left: tuple[Dense, int] | None = None

    def small(self, name: str, shape: Sequence[int]) -> Array:
        """A weight of exactly this shape."""
        values = self._array(name)
        if values.shape != tuple(shape):
            raise self._refuse(f"{name} has shape {values.shape}, not {tuple(shape)}")
        return values

    def product(self, name: str, shape: tuple[int, int]) -> Dense | Blocks:
        """A linear layer's weight.

        A graph that rounds nothing has the rows that others keep exact in the same matrix, behind the rest:
        they are cut off, and given when they are asked for next.
        """
        rows, width = shape
        if name not in self._tensors and self._left is not None:
            held, start = self._left
            self._left = None
            if held.shape == (start + rows, width):
                return _cut_columns(held, start, start + rows)
        if name in self._forms:
            return self._blocks(name, shape)
        tensor = self._tensor(name)
        found = tuple(tensor.dims)
        if len(found) != 2 or found[0] != width or found[1] < rows:
            raise self._refuse(f"{name} has shape {found}, not ({width}, {rows})")
        whole = Dense((found[1], width), turned=True, rows=partial(self._rows, name))
        if found[1] == rows:
            return whole
        self._left = (whole, rows)
        return _cut_columns(whole, 0, rows)

    def table(self, name: str, shape: tuple[int, int]) -> Dense | Blocks:
        """A table, in rows as it is looked up."""
        if name in self._forms:
            return self._blocks(name, shape)
        found = tuple(self._tensor(name).dims)
        if found != shape:
            raise self._refuse(f"{name} has shape {found}, not {shape}")
        return Dense(shape, turned=False, rows=partial(self._rows, name))

    def experts(self, name: str, count: int, inner: int, hidden: int) -> GivenExperts:
        """A mixture's experts, rows of gate and up interleaved."""
        return GivenExperts(
            count,
            inner,
            hidden,
            partial(self._expert, f"{name}.gate_up", (2 * inner, hidden)),
            partial(self._expert, f"{name}.down", (hidden, inner)),
        )

    def _expert(self, name: str, shape: tuple[int, int], which: int) -> Dense | Blocks:
        if name not in self._forms:
            values = self._array(name)
            if values.shape[1:] != shape:
                raise self._refuse(f"{name} has shape {values.shape}")
            return Dense(shape, turned=False, rows=lambda start, stop: values[which, start:stop])
        form = self._forms[name].form
        packed = self._packed(name, shape, which)
        return Blocks(shape, form, lambda start, stop: _cut_blocks(packed, form, start, stop))

    def _blocks(self, name: str, shape: tuple[int, int]) -> Blocks:
        form = self._forms[name].form
        packed = self._packed(name, shape, None)
        return Blocks(shape, form, lambda start, stop: _cut_blocks(packed, form, start, stop))

    def _packed(self, name: str, shape: tuple[int, int], which: int | None) -> Packed:
        rows, width = shape
        stored = self._forms[name]
        form = stored.form
        values, scales = self._array(name), self._array(stored.scales)
        zeros = self._array(stored.zeros) if stored.zeros else None
        if which is not None:
            values, scales = values[which], scales[which]
            zeros = zeros[which] if zeros is not None else None
        blocks = form.blocks(width)
        if values.size != rows * blocks * form.value_bytes() or scales.size != rows * blocks:
            raise self._refuse(f"{name} is not [{rows}, {width}] in {form.label}")
        return Packed(
            values.reshape(rows, blocks, form.value_bytes()),
            scales.reshape(rows, blocks),
            None if zeros is None else zeros.reshape(rows, -1),
        )

    def _note_forms(self, node: onnx.NodeProto) -> None:
        said = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        bits: Literal[4, 8] = 8 if said.get("bits", said.get("expert_weight_bits", 4)) == 8 else 4
        names = list(node.input)
        if node.op_type == "QMoE":
            beside = [name for name in names[7:] if name]
            parts = [(names[2], names[3], beside[:1]), (names[5], names[6], beside[1:2])]
        else:
            first = 1 if node.op_type == "MatMulNBits" else 0
            parts = [(names[first], names[2], [name for name in names[3:4] if name])]
        for values, scales, zeros in parts:
            form = BlockForm(bits, int(said["block_size"]), bool(zeros))
            self._forms[values.removesuffix("_as_3d")] = _Stored(form, scales, zeros[0] if zeros else "")

    def _tensor(self, name: str) -> TensorProto:
        found = self._tensors.get(name)
        if found is None:
            raise self._refuse(f"it has no weight {name}")
        return found

    def _array(self, name: str) -> NDArray[Any]:
        """A tensor's values; of a file beside the graph they are mapped, not read."""
        tensor = self._tensor(name)
        if tensor.data_location != TensorProto.EXTERNAL:
            return np.asarray(numpy_helper.to_array(tensor))
        place = {entry.key: entry.value for entry in tensor.external_data}
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return np.memmap(
            self._path.parent / place["location"],
            kind,
            "r",
            offset=int(place.get("offset", 0)),
            shape=tuple(tensor.dims),
        )

    def _rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        return self._array(name)[start:stop]

    def _refuse(self, why: str) -> IncompatibleBundle:
        return IncompatibleBundle(
            f"{self._path.name} cannot be compiled: {why}. It was built by another version of this software: "
            "build the engine again with `lineside engine build`"
        )


def _cut_columns(held: Dense, start: int, stop: int) -> Dense:
    """Some rows of a weight [out, in] that is held as [in, out]."""
    return Dense(
        (stop - start, held.shape[1]), True, lambda first, last: held.rows(first, last)[:, start:stop]
    )


def _cut_blocks(packed: Packed, form: BlockForm, start: int, stop: int) -> Packed:
    zeros = packed.zeros
    if zeros is not None:
        per_byte = 8 // form.bits
        if start % per_byte:
            raise ValueError("zero points lie in pairs: cut before an even block")
        zeros = zeros[:, start // per_byte : -(-stop // per_byte)]
    return Packed(packed.values[:, start:stop], packed.scales[:, start:stop], zeros)
