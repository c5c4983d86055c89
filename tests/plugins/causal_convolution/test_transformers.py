"""The causal convolution against the functions that transformers runs for Qwen3.5."""

from __future__ import annotations

import numpy as np
import pytest
from on_host import assert_close, drawn, need_compiler

from lineside.plugins.causal_convolution.naive import causal_convolution
from lineside.plugins.causal_convolution.shapes import KERNEL
from lineside.plugins.host.run import run

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.parity

FLOAT16 = KERNEL.variants[0]


def test_prompt_and_step_are_those_of_transformers() -> None:
    need_compiler()
    case = drawn(KERNEL, FLOAT16, B=2, T=21, C=48)
    x, weight, state = (
        torch.from_numpy(case.inputs[name].astype(np.float32)) for name in ("x", "weight", "state")
    )
    convolution = torch.nn.Conv1d(48, 48, 4, groups=48, bias=False)
    convolution.weight.data = weight
    seen = torch.cat([state, x], dim=1).transpose(1, 2)
    with torch.no_grad():
        want = torch.nn.functional.silu(convolution(seen)).transpose(1, 2).numpy()

    assert_close(causal_convolution(case.inputs)["y"], want, 1e-6, "the reference")
    assert_close(run(KERNEL, FLOAT16, case.inputs)["y"], want, case.tolerance, "the kernel")


def test_one_token_is_the_update_of_transformers() -> None:
    need_compiler()
    from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen

    case = drawn(KERNEL, FLOAT16, B=2, T=1, C=48)
    x, weight, state = (
        torch.from_numpy(case.inputs[name].astype(np.float32)) for name in ("x", "weight", "state")
    )
    # Their state has a fourth column, the oldest, that no output needs.
    four = torch.cat([torch.full((2, 1, 48), 7.0), state], dim=1).transpose(1, 2).contiguous()
    with torch.no_grad():
        want = qwen.causal_conv1d_update(x.transpose(1, 2), four, weight[:, 0], None, "silu")

    found = run(KERNEL, FLOAT16, case.inputs)

    assert_close(found["y"], want.transpose(1, 2).numpy(), case.tolerance, "y")
    assert_close(found["present"], four[:, :, 1:].transpose(1, 2).numpy(), 0.0, "present")
