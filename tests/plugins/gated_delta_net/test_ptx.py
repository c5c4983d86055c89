"""What NVRTC makes of the kernels: wide loads and stores, tensor cores of the right type, no float64."""

from __future__ import annotations

import re

import pytest

from lineside.plugins.gated_delta_net.shapes import OPERATOR
from lineside.plugins.operator import Variant
from lineside.plugins.ptx.compile import compile_ptx
from lineside.plugins.ptx.nvrtc import NvrtcMissing, nvrtc

KERNELS = {kernel.name.removeprefix("gated_delta_net_"): kernel for kernel in OPERATOR.kernels}
PRODUCT = re.compile(r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.(\w+)\.(\w+)\.f32")


def ptx(name: str, variant: Variant) -> str:
    try:
        nvrtc()
    except NvrtcMissing as missing:
        pytest.skip(str(missing))
    return compile_ptx(KERNELS[name], variant, "sm_87", None).ptx


@pytest.mark.parametrize("name", KERNELS)
def test_nothing_is_done_in_double_precision(name: str) -> None:
    text = ptx(name, KERNELS[name].variants[0])

    assert f".entry gated_delta_net_{name}(" in text
    assert re.findall(r"\.f64\b", text) == []
    assert ".local" not in text


def test_decode_moves_its_state_sixteen_bytes_at_a_time() -> None:
    text = ptx("decode", KERNELS["decode"].variants[0])

    # 32 numbers a thread in 8 loads, before anything of the convolution; and 8 stores.
    loads = re.findall(r"ld\.global\.nc\.v4\.(f32|u16)", text)
    assert loads[:8] == ["f32"] * 8
    assert len(re.findall(r"st\.global\.v4\.f32", text)) == 8
    assert "st.global.f32" not in text


@pytest.mark.parametrize("name", ["solve", "scan"])
def test_chunks_are_multiplied_on_tensor_cores(name: str) -> None:
    for variant, operand in zip(KERNELS[name].variants, ("f16", "bf16"), strict=True):
        assert set(PRODUCT.findall(ptx(name, variant))) == {(operand, operand)}
