"""The bytes of a bundle's experts, through the kernels and through ONNX Runtime's `MoE` and `QMoE`."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from mixture import Experts, Form, few_tokens, many_tokens, naive_mixture
from numpy.typing import NDArray
from on_host import assert_close, need_compiler

# Whole blocks: its CPU kernels take no others.
TOKENS, COUNT, WIDTH, INNER = 6, 4, 256, 128
FORMS = [
    Form(name="float16", activation="float16"),
    *(
        Form(
            name=f"int4 by {block}, {'with' if zeros else 'no'} zero points",
            activation="float16",
            block=block,
            zeros=zeros,
        )
        for block in (32, 128)
        for zeros in (False, True)
    ),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_onnx_runtime_gives_the_same_from_the_same_bytes(form: Form) -> None:
    need_compiler()
    rng = np.random.default_rng(form.block + form.zeros)
    experts = Experts.drawn(rng, form, count=COUNT, width=WIDTH, inner=INNER)
    x = rng.standard_normal((TOKENS, WIDTH), np.float32).astype(np.float16)
    logits = rng.standard_normal((TOKENS, COUNT), np.float32)

    want = onnx_runtime(experts, x.astype(np.float32), logits)

    assert_close(naive_mixture(experts, x, logits, chosen=2), want, 1e-5, "the reference")
    assert_close(few_tokens(experts, x, logits), want, experts.tolerance, "pair by pair")
    assert_close(many_tokens(experts, x, logits), want, experts.tolerance, "grouped")


def onnx_runtime(
    experts: Experts, x: NDArray[np.float32], logits: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What its CPU kernels make of the same experts, in float32."""
    gate_up, down = (
        _flat(stored, rows) for stored, rows in ((experts.gate_up, 2 * INNER), (experts.down, WIDTH))
    )
    inputs: list[tuple[str, NDArray[Any] | None]]
    settings: dict[str, Any] = {}
    if experts.form.block:
        inputs = [("w1", gate_up["values"]), ("s1", gate_up["scales"]), ("", None)]
        inputs += [("w2", down["values"]), ("s2", down["scales"])]
        if experts.form.zeros:
            inputs += [("", None)] * 4 + [("z1", gate_up["zeros"]), ("z2", down["zeros"])]
        settings = {"expert_weight_bits": 4, "block_size": experts.form.block, "accuracy_level": 0}
    else:
        inputs = [("w1", gate_up["gate_up"]), ("", None), ("w2", down["down"])]
    node = onnx.helper.make_node(
        "QMoE" if experts.form.block else "MoE",
        ["x", "logits", *(name for name, _ in inputs)],
        ["y"],
        domain="com.microsoft",
        k=2,
        activation_type="swiglu",
        swiglu_fusion=1,
        activation_alpha=1.0,
        activation_beta=0.0,
        normalize_routing_weights=1,
        **settings,
    )
    tensor, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "mixture",
        [tensor("x", kind, list(x.shape)), tensor("logits", kind, list(logits.shape))],
        [tensor("y", kind, list(x.shape))],
        [onnx.numpy_helper.from_array(array, name) for name, array in inputs if array is not None],
    )
    opsets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x, "logits": logits})
    return np.asarray(y, np.float32)


def _flat(stored: dict[str, NDArray[Any]], rows: int) -> dict[str, NDArray[Any]]:
    """As ONNX Runtime wants the very same memory: rows flat, scales and 16-bit weights in float32."""
    flat = {name: array.reshape(COUNT, rows, -1) for name, array in stored.items()}
    return {
        name: array if array.dtype == np.uint8 else array.astype(np.float32) for name, array in flat.items()
    }
