"""Products by weights that stay packed: what a graph multiplies by is what was stored."""

from __future__ import annotations

from typing import Any, Literal

import ml_dtypes
import numpy as np
import pytest
from graph_runner import relative_error
from onnx import TensorProto, helper
from tensorrt_graphs import session_of

from lineside.engines.graph.dialects import given
from lineside.engines.graph.fed import Blocks, Dense, FedGraph, fed_bytes
from lineside.engines.quantise.blocks import BlockForm, Packed, pack, unpack

ROWS, WIDTH = 48, 256
RNG = np.random.default_rng(1)
WEIGHT = (RNG.standard_normal((ROWS, WIDTH)) * RNG.uniform(0.1, 2, (ROWS, 1))).astype(np.float32)
X = (RNG.standard_normal((1, 5, WIDTH)) + 0.5).astype(np.float32)


def dense(weight: np.ndarray[Any, Any] = WEIGHT) -> Dense:
    return Dense(weight.shape, False, lambda start, stop: weight[start:stop])


def blocks(form: BlockForm) -> tuple[Blocks, np.ndarray[Any, Any]]:
    """(a weight in blocks, what its integers stand for)."""
    packed = pack(WEIGHT, form)

    def read(start: int, stop: int) -> Packed:
        zeros = None if packed.zeros is None else packed.zeros[:, start // 2 : -(-stop // 2)]
        return Packed(packed.values[:, start:stop], packed.scales[:, start:stop], zeros)

    return Blocks(WEIGHT.shape, form, read), unpack(packed, form, WIDTH)


def product(
    weight: Dense | Blocks, kind: Any, rounding: Any = "stored"
) -> tuple[FedGraph, np.ndarray[Any, Any]]:
    graph = FedGraph("product", None, None)  # type: ignore[arg-type]
    x = graph.input("x", "float32", [1, 5, WIDTH])
    y = given.product(graph, x, weight, graph.fresh("w"), kind, rounding)
    graph.output("y", y, "float32", [1, 5, ROWS])
    return graph, session_of(graph.model()).run(None, {"x": X})[0]


@pytest.mark.parametrize("zeros", [False, True], ids=["symmetric", "zero points"])
@pytest.mark.parametrize("block", [32, 128])
@pytest.mark.parametrize(("kind", "tolerance"), [("float32", 1e-6), ("float16", 2e-3)])
def test_four_bits_stay_four_bits(block: int, zeros: bool, kind: str, tolerance: float) -> None:
    """Zero points too, although compilers know symmetric blocks only."""
    weight, stands_for = blocks(BlockForm(4, block, zeros))
    graph, y = product(weight, kind)
    assert relative_error(y, X @ stands_for.T) < tolerance
    types = {one.name: one.data_type for one in graph.model().graph.initializer}
    assert types["w"] == TensorProto.INT4
    assert ("w.offsets" in types) is zeros


def test_eight_bits_become_half_precision() -> None:
    """TensorRT has no blocks of eight bits."""
    weight, stands_for = blocks(BlockForm(8, 128, False))
    graph, y = product(weight, "float16")
    assert relative_error(y, X @ stands_for.T) < 2e-3
    assert {one.data_type for one in graph.model().graph.initializer if one.name == "w"} == {
        TensorProto.FLOAT16
    }


def test_what_is_no_whole_block_is_not_left_packed() -> None:
    assert not given.stays_packed(Blocks((48, 100), BlockForm(4, 32, False), lambda start, stop: None))  # type: ignore[arg-type,return-value]
    assert not given.stays_packed(Blocks((47, 128), BlockForm(4, 32, False), lambda start, stop: None))  # type: ignore[arg-type,return-value]
    assert given.stays_packed(Blocks((48, 128), BlockForm(4, 32, False), lambda start, stop: None))  # type: ignore[arg-type,return-value]


def test_eight_bit_floats_have_one_scale() -> None:
    _, y = product(dense(), "float32", "fp8")
    scale = np.abs(WEIGHT).max() / 448
    rounded = (WEIGHT / scale).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * scale
    assert relative_error(y, X @ rounded.T) < 1e-5
    assert relative_error(y, X @ WEIGHT.T) < 0.03


def test_four_bit_floats_have_a_scale_for_sixteen() -> None:
    """ONNX Runtime's CPU has no four-bit floats: the graph's own tensors are read instead of run."""
    graph = FedGraph("product", None, None)  # type: ignore[arg-type]
    x = graph.input("x", "float32", [1, 5, WIDTH])
    given.product(graph, x, dense(), graph.fresh("w"), "float32", "nvfp4")
    stored = {one.name: one for one in graph.graph().initializer}
    raw = np.frombuffer(stored["w"].raw_data, np.uint8).reshape(WIDTH, ROWS // 2)
    codes = np.stack([raw & 15, raw >> 4], axis=-1).reshape(WIDTH, ROWS)
    values = codes.view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    scales = np.frombuffer(stored["w.scales"].raw_data, ml_dtypes.float8_e4m3fn).astype(np.float32)
    (outer,) = (
        np.frombuffer(one.raw_data, np.float32)[0]
        for name, one in stored.items()
        if name.startswith("constant") and one.data_type == TensorProto.FLOAT
    )
    weight = values * np.repeat(scales.reshape(-1, ROWS), 16, axis=0) * outer
    error = np.linalg.norm(weight.T - WEIGHT) / np.linalg.norm(WEIGHT)
    assert 0.01 < error < 0.12


@pytest.mark.parametrize(
    ("kind", "shape", "size"),
    [("float16", (3, 5), 30), ("int4", (4, 6), 12), ("int4", (3, 3), 5), ("float4e2m1", (2, 2), 2)],
)
def test_what_a_weight_takes(
    kind: Literal["float16", "int4", "float4e2m1"], shape: tuple[int, ...], size: int
) -> None:
    assert fed_bytes(kind, shape) == size


def test_a_fed_weight_is_an_input_and_lies_on_the_shelf_once() -> None:
    """Two graphs over one shelf share it; the second does not read the weight at all."""
    taken: list[tuple[str, str, tuple[int, ...]]] = []

    class Shelf:
        def put(self, name: str, kind: str, shape: Any, chunks: Any) -> None:
            taken.append((name, kind, tuple(shape)))

    graph = FedGraph("product", None, Shelf())  # type: ignore[arg-type]
    x = graph.input("x", "float32", [1, 5, WIDTH])
    y = given.product(graph, x, dense(), graph.fresh("w"), "float16", "stored")
    graph.output("y", y, "float32", [1, 5, ROWS])
    model = graph.model()
    assert [one.name for one in model.graph.input] == ["x", "w"]
    assert taken == [("w", "float16", (WIDTH, ROWS))]
    assert helper.tensor_dtype_to_np_dtype(model.graph.input[1].type.tensor_type.elem_type) == np.float16
