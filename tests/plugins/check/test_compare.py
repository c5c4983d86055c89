"""A kernel against its reference on a device: every kind of wrong kernel is seen to be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_device import EmulatedDevice, spoilt
from scaled_add import KERNEL

from lineside.plugins.check.compare import Comparison, compare
from lineside.plugins.check.device import DeviceFault
from lineside.plugins.operator import Case, Kernel, Tensor
from lineside.plugins.ptx.compile import Compiled

pytestmark = pytest.mark.usefixtures("emulation")

SIZES = {"T": 3, "N": 50}


def compared(
    kernel: Kernel, device: EmulatedDevice | None = None, sizes: Mapping[str, int] = SIZES
) -> Comparison:
    device = device or EmulatedDevice()
    variant = kernel.variants[0]
    loaded = device.load(Compiled(kernel=kernel, variant=variant, target="sm_87", ptx=""))
    case = kernel.draw(np.random.default_rng(1), sizes, variant)
    result = compare(device, loaded, case)
    assert device.allocated == {}
    return result


@pytest.mark.parametrize("sizes", [SIZES, {"T": 1, "N": 1}, {"T": 2, "N": 128}])
def test_a_right_kernel_is_right(sizes: Mapping[str, int]) -> None:
    result = compared(KERNEL, sizes=sizes)

    assert result.faults == ()
    assert 0 <= result.error < 1e-3


def test_a_wrong_formula(tmp_path: Path) -> None:
    result = compared(spoilt(tmp_path, "SCALE * row", "1.01f * SCALE * row"))

    (fault,) = result.faults
    assert fault.startswith("sum is off by ")
    assert result.error > 1e-3


def test_a_ragged_end_left_unwritten(tmp_path: Path) -> None:
    result = compared(spoilt(tmp_path, "if (i < count) sum", "if (i < count - 1) sum"))

    assert "sum: 1 of 150 numbers are not numbers, or were never written" in result.faults
    assert "sum differs from one run to the next" in result.faults
    assert result.error == float("inf")


def test_a_ragged_end_written_beyond(tmp_path: Path) -> None:
    result = compared(spoilt(tmp_path, "if (i < count) sum[i] = ", "sum[i] = i >= count ? a[0] : "))

    assert result.faults == ("it wrote outside sum",)


def test_an_input_written_to(tmp_path: Path) -> None:
    kernel = spoilt(
        tmp_path, "    __syncthreads();", "    if (i == 0) const_cast<float*>(b)[count - 1] = 7.0f;"
    )

    assert "it wrote to its input b" in compared(kernel).faults


def test_what_lies_before_a_tensor_written_to(tmp_path: Path) -> None:
    kernel = spoilt(tmp_path, "    __syncthreads();", "    if (i == 0) sum[-1] = a[0];")

    assert compared(kernel).faults == ("it wrote outside sum",)


def test_leavings_in_memory_that_reach_the_result(tmp_path: Path) -> None:
    kernel = spoilt(
        tmp_path, "from_float<ACTIVATION>(", "from_float<ACTIVATION>((i == 9 ? to_float(sum[i]) : 0) + "
    )

    assert "sum differs from one run to the next" in compared(kernel).faults


def test_a_kernel_that_takes_the_device_down(tmp_path: Path) -> None:
    kernel = spoilt(tmp_path, "    __syncthreads();", "    if (i == 1) __trap();")

    with pytest.raises(DeviceFault):
        compared(kernel)


def test_a_reference_that_is_not_finite() -> None:
    def naive(inputs: Mapping[str, Any], variant: Any) -> dict[str, Any]:
        return {"sum": np.full(inputs["a"].shape, np.nan, np.float32)}

    (fault,) = compared(replace(KERNEL, naive=naive)).faults

    assert "the reference itself is not finite" in fault


def test_a_reference_of_another_shape() -> None:
    def naive(inputs: Mapping[str, Any], variant: Any) -> dict[str, Any]:
        return {"sum": np.zeros(3, np.float32)}

    (fault,) = compared(replace(KERNEL, naive=naive)).faults

    assert fault == "sum has shape (3, 50), the reference's has (3,)"


def test_integers_must_be_the_same_whatever_the_tolerance(tmp_path: Path) -> None:
    kernel = spoilt(tmp_path, "ACTIVATION* __restrict__ sum", "int* __restrict__ sum")
    kernel.source.write_text(
        kernel.source.read_text().replace("sum[i] = from_float<ACTIVATION>", "sum[i] = (int)")
    )

    def naive(inputs: Mapping[str, Any], variant: Any) -> dict[str, Any]:
        total = KERNEL.naive(inputs, variant)["sum"].astype(np.int32)
        total[0, 0] += 1
        return {"sum": total}

    def draw(rng: np.random.Generator, sizes: Mapping[str, int], variant: Any) -> Case:
        return replace(KERNEL.draw(rng, sizes, variant), tolerance=100.0)

    outputs = (Tensor(name="sum", dtype="int32", shape=("T", "N")),)
    (fault,) = compared(replace(kernel, naive=naive, draw=draw, outputs=outputs)).faults

    assert fault == "sum: 1 of 150 integers are others"


def test_inputs_that_do_not_fit_together_are_refused_and_nothing_is_kept() -> None:
    def draw(rng: np.random.Generator, sizes: Mapping[str, int], variant: Any) -> Case:
        case = KERNEL.draw(rng, sizes, variant)
        return replace(case, inputs={**case.inputs, "b": case.inputs["b"][:1]})

    device = EmulatedDevice()
    with pytest.raises(ValueError, match="b has shape"):
        compared(replace(KERNEL, draw=draw, naive=lambda inputs, variant: {}), device)

    assert device.allocated == {}
