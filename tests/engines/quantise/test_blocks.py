"""Rounding to small integers: what comes back, how far off it may be, and the layout ONNX Runtime reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lineside.engines.quantise.blocks import BlockForm, pack, rounded, unpack

FORMS = [BlockForm(bits, block, zeros) for bits in (4, 8) for block in (32, 128) for zeros in (False, True)]
each_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.label)


def _weights(rows: int, width: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((rows, width), np.float32)


@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    rows=st.integers(1, 5),
    width=st.integers(1, 300),
    scale=st.sampled_from([1e-30, 1e-6, 1.0, 1e6, 1e30]),
    seed=st.integers(0, 10_000),
)
def test_every_value_is_within_a_step_and_nothing_leaves_its_block(
    form: BlockForm, rows: int, width: int, scale: float, seed: int
) -> None:
    weights = _weights(rows, width, seed) * np.float32(scale)
    packed = pack(weights, form)
    assert packed.values.shape == (rows, form.blocks(width), form.value_bytes())
    assert packed.scales.shape == (rows, form.blocks(width))
    back = unpack(packed, form, width)
    assert back.shape == weights.shape
    steps = np.repeat(np.abs(packed.scales), form.block, axis=1)[:, :width]
    # Half a step of rounding, and at the ends what a narrower span cuts off: with 4 bits up to 3 steps.
    assert (np.abs(back - weights) <= steps * (0.51 if form.bits == 8 and form.zero_points else 3.5)).all()


@each_form
def test_zeros_stay_zero_and_a_block_of_one_value_is_kept(form: BlockForm) -> None:
    assert not rounded(np.zeros((3, 200), np.float32), form).any()
    sparse = np.zeros((1, 256), np.float32)
    sparse[0, 5] = -3.0
    back = rounded(sparse, form)
    assert not np.delete(back[0], 5).any()
    assert back[0, 5] == pytest.approx(-3.0, rel=0.2)


@each_form
def test_what_was_rounded_once_stays_as_it_is(form: BlockForm) -> None:
    once = rounded(_weights(4, 256), form)
    np.testing.assert_allclose(rounded(once, form), once, rtol=0.35, atol=float(np.abs(once).max()) * 0.15)


def test_finer_forms_err_less() -> None:
    weights = np.random.default_rng(1).standard_t(4, (64, 1024)).astype(np.float32)
    errors = {form: float(np.linalg.norm(weights - rounded(weights, form))) for form in FORMS}
    for bits in (4, 8):
        for zeros in (False, True):
            assert errors[BlockForm(bits, 32, zeros)] < errors[BlockForm(bits, 128, zeros)]
        for block in (32, 128):
            assert errors[BlockForm(bits, block, True)] < errors[BlockForm(bits, block, False)]
    assert errors[BlockForm(8, 128, False)] < errors[BlockForm(4, 32, True)] / 5


@pytest.mark.parametrize("width", [256, 272, 48])
@each_form
def test_onnx_runtime_reads_the_same_numbers(form: BlockForm, width: int) -> None:
    """accuracy_level 0 multiplies in float32: what is left is the order of sums."""
    weights = _weights(24, width, 3)
    packed = pack(weights, form)
    found = _run(
        "MatMulNBits",
        _weights(5, width, 4),
        {"B": packed.values, "scales": packed.scales}
        | ({"zeros": packed.zeros} if packed.zeros is not None else {}),
        N=24,
        K=width,
        bits=form.bits,
        block_size=form.block,
        accuracy_level=0,
    )
    wanted = _weights(5, width, 4) @ unpack(packed, form, width).T
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def _run(kind: str, x: np.ndarray[Any, Any], weights: dict[str, Any], **attributes: int) -> Any:
    node = helper.make_node(kind, ["x", *weights], ["y"], domain="com.microsoft", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["M", "N"])],
        initializer=[numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in weights.items()],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=11)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]
