"""The int4 products' CUDA sources, run on the CPU: every form, ragged ends, numbers that are none, races."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_host import agree, assert_close, drawn, need_compiler, same_in_any_order

from lineside.plugins.host.build import Mode
from lineside.plugins.host.run import run
from lineside.plugins.int4_matmul.shapes import GEMM, GEMM_ZEROS, GEMV, GEMV_ZEROS, OPERATOR
from lineside.plugins.operator import Kernel, Variant
from lineside.plugins.operators import find_variant

FORMS = [(kernel, variant) for kernel in OPERATOR.kernels for variant in kernel.variants]
BOTH = [(GEMV, find_variant(GEMV, "float16-32")), (GEMM, find_variant(GEMM, "float16-128"))]


def named(thing: Kernel | Variant) -> str:
    return thing.name


@pytest.fixture(autouse=True, scope="module")
def _compiler() -> None:
    need_compiler()


@pytest.mark.parametrize(("kernel", "variant"), FORMS, ids=named)
def test_every_form_is_the_formula_with_ragged_ends(kernel: Kernel, variant: Variant) -> None:
    agree(kernel, variant, drawn(kernel, variant, T=3, K=256, N=16))
    agree(kernel, variant, drawn(kernel, variant, T=11 if kernel.decode else 67, K=333, N=130))


@settings(max_examples=50, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    rows=st.integers(1, 70),
    width=st.integers(1, 420),
    outputs=st.integers(1, 140),
    seed=st.integers(0, 99),
)
def test_of_any_shape(form: tuple[Kernel, Variant], rows: int, width: int, outputs: int, seed: int) -> None:
    kernel, variant = form
    agree(kernel, variant, drawn(kernel, variant, seed, T=rows, K=width, N=outputs))


@pytest.mark.parametrize(("kernel", "variant"), BOTH, ids=named)
def test_weights_are_not_rounded_on_the_way(kernel: Kernel, variant: Variant) -> None:
    case = drawn(kernel, variant, T=1, K=2048, N=16)
    case.inputs["x"][:] = (
        1  # nothing to round in x, so what is off is the sum's and the output's own rounding
    )

    found = run(kernel, variant, case.inputs)["y"]

    exact = kernel.naive(case.inputs, variant)["y"]
    # One step of float16, where weights rounded to float16 would be off by about √2048 half steps of theirs.
    assert (np.abs(found.astype(np.float32) - exact) <= np.spacing(np.abs(found)).astype(np.float32)).all()


@pytest.mark.parametrize(("kernel", "variant"), BOTH, ids=named)
def test_long_rows_do_not_gather_error(kernel: Kernel, variant: Variant) -> None:
    agree(kernel, variant, drawn(kernel, variant, T=2, K=12288, N=20))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("kernel", "variant"), BOTH, ids=named)
def test_what_is_no_number_spoils_its_row_and_no_other(kernel: Kernel, variant: Variant, bad: float) -> None:
    case = drawn(kernel, variant, T=8, K=300, N=33)
    clean = run(kernel, variant, case.inputs)["y"]
    case.inputs["x"][3, 297] = bad

    found = run(kernel, variant, case.inputs)["y"]

    assert not np.isfinite(found[3]).any()
    rest = [row for row in range(8) if row != 3]
    assert found[rest].tobytes() == clean[rest].tobytes()


@pytest.mark.parametrize(("kernel", "variant"), BOTH, ids=named)
def test_a_scale_that_is_no_number_spoils_its_output_and_no_other(kernel: Kernel, variant: Variant) -> None:
    case = drawn(kernel, variant, T=2, K=300, N=33)
    case.inputs["scales"][20, 1] = np.nan

    found = run(kernel, variant, case.inputs)["y"]

    assert (np.isnan(found) == (np.arange(33) == 20)).all()


@pytest.mark.parametrize(("kernel", "variant"), BOTH, ids=named)
def test_sums_beyond_the_type_are_infinite(kernel: Kernel, variant: Variant) -> None:
    case = drawn(kernel, variant, T=1, K=256, N=16)
    case.inputs["x"][:] = 60000
    case.inputs["values"][:] = 0xFF
    case.inputs["scales"][:] = 1

    assert (run(kernel, variant, case.inputs)["y"] == np.inf).all()


@pytest.mark.parametrize(("kernel", "variant"), BOTH, ids=named)
def test_large_numbers_in_bfloat16_are_not_limited_by_float16(kernel: Kernel, variant: Variant) -> None:
    variant = find_variant(kernel, variant.name.replace("float16", "bfloat16"))
    case = drawn(kernel, variant, T=2, K=200, N=24)
    case.inputs["x"][:] = (case.inputs["x"].astype(np.float32) * 1e30).astype(case.inputs["x"].dtype)

    agree(kernel, variant, case)


@pytest.mark.parametrize(
    ("few", "many"), [(GEMV, GEMM), (GEMV_ZEROS, GEMM_ZEROS)], ids=["symmetric", "zero points"]
)
@pytest.mark.parametrize("name", ["float16-32", "bfloat16-128"])
def test_a_prompt_and_a_step_of_it_agree(few: Kernel, many: Kernel, name: str) -> None:
    case = drawn(many, find_variant(many, name), T=66, K=320, N=40)

    prompt = run(many, find_variant(many, name), case.inputs)["y"]
    step = run(few, find_variant(few, name), {**case.inputs, "x": case.inputs["x"][65:]})["y"]

    assert_close(step, prompt[65:].astype(np.float32), case.tolerance, "the step")


@pytest.mark.parametrize(("kernel", "variant"), BOTH, ids=named)
def test_the_same_bits_in_any_order(kernel: Kernel, variant: Variant) -> None:
    same_in_any_order(kernel, variant, drawn(kernel, variant, T=9, K=1400, N=35))


@pytest.mark.parametrize("mode", [Mode.ADDRESS, Mode.THREAD], ids=lambda mode: mode.value)
@pytest.mark.parametrize(
    ("kernel", "name"), [(GEMV_ZEROS, "float16-32"), (GEMM_ZEROS, "bfloat16-128")], ids=["gemv", "gemm"]
)
def test_nothing_is_read_or_written_that_is_not_its_own(kernel: Kernel, name: str, mode: Mode) -> None:
    variant = find_variant(kernel, name)

    agree(kernel, variant, drawn(kernel, variant, T=9, K=300, N=21), mode=mode)
