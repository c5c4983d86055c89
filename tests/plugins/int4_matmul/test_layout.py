"""The layout is the one bundles store and ONNX Runtime multiplies by: the same bytes, the same product."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from on_host import assert_close, need_compiler

from lineside.engines.quantise.blocks import BlockForm, Packed, pack
from lineside.engines.quantise.blocks import unpack as unpack_stored
from lineside.plugins.host.run import run
from lineside.plugins.int4_matmul.naive import product, unpack
from lineside.plugins.int4_matmul.shapes import GEMV, GEMV_ZEROS
from lineside.plugins.operators import find_variant

WIDTH, OUTPUTS, ROWS = 352, 24, 3
FORMS = [(block, zeros) for block in (32, 128) for zeros in (False, True)]


def stored(block: int, zeros: bool) -> Packed:
    """A matrix as a bundle stores it, its scales rounded to float16."""
    rows = np.random.default_rng(block).standard_normal((OUTPUTS, WIDTH), np.float32)
    packed = pack(rows, BlockForm(4, block, zeros))
    return Packed(packed.values, packed.scales.astype(np.float16).astype(np.float32), packed.zeros)


def inputs_of(packed: Packed) -> dict[str, NDArray[np.generic]]:
    x = np.random.default_rng(1).standard_normal((ROWS, WIDTH), np.float32).astype(np.float16)
    given: dict[str, NDArray[np.generic]] = {"x": x, "values": packed.values}
    given["scales"] = packed.scales.astype(np.float16)
    return given if packed.zeros is None else {**given, "zeros": packed.zeros}


@pytest.mark.parametrize(("block", "zeros"), FORMS)
def test_what_is_stored_is_what_is_meant(block: int, zeros: bool) -> None:
    packed = stored(block, zeros)

    found = unpack(packed.values, packed.scales, packed.zeros, WIDTH)

    assert (found == unpack_stored(packed, BlockForm(4, block, zeros), WIDTH)).all()


@pytest.mark.parametrize(("block", "zeros"), FORMS)
def test_the_bytes_of_a_bundle_give_onnx_runtimes_product(block: int, zeros: bool) -> None:
    need_compiler()
    packed = stored(block, zeros)
    given = inputs_of(packed)
    kernel = GEMV_ZEROS if zeros else GEMV
    want = onnx_runtime(packed, block, given["x"].astype(np.float32))

    found = run(kernel, find_variant(kernel, f"float16-{block}"), given)["y"]

    assert_close(product(given)["y"], want, 1e-5, "the reference")
    assert_close(found, want, 1e-3, "the kernel")


def onnx_runtime(packed: Packed, block: int, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `MatMulNBits` makes of the same bytes, in float32."""
    weights = {"values": packed.values, "scales": packed.scales}
    if packed.zeros is not None:
        weights["zeros"] = packed.zeros
    node = onnx.helper.make_node(
        "MatMulNBits",
        ["x", *weights],
        ["y"],
        domain="com.microsoft",
        N=OUTPUTS,
        K=WIDTH,
        bits=4,
        block_size=block,
    )
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "product",
        [tensor("x", onnx.TensorProto.FLOAT, [ROWS, WIDTH])],
        [tensor("y", onnx.TensorProto.FLOAT, [ROWS, OUTPUTS])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    return np.asarray(y, np.float32)
