"""The experts' products in CUDA, run on the CPU: both ways through a mixture, in every form of weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture import FORMS, Experts, few_tokens, many_tokens, naive_mixture
from numpy.typing import NDArray
from on_host import agree, assert_close, drawn, need_compiler, same_in_any_order

from lineside.plugins.host.build import Mode
from lineside.plugins.host.run import run
from lineside.plugins.moe.experts import PRODUCTS
from lineside.plugins.moe.naive import group
from lineside.plugins.moe.shapes import COMBINE
from lineside.plugins.operator import Kernel, Variant
from lineside.plugins.operators import find_variant

KERNELS = {kernel.name: kernel for kernel in PRODUCTS}
# Every kernel; of the forms of its weights each block, zero points and activation at least once.
VARIANTS = [
    (kernel, variant)
    for kernel in PRODUCTS
    for variant in kernel.variants
    if "_int4" not in kernel.name
    or variant.name in (("float16-128", "bfloat16-32") if "zeros" in kernel.name else ("float16-32",))
]
SANITIZED = ["moe_gate_up_int4_zeros", "moe_down_int4", "moe_grouped_gate_up", "moe_grouped_down_int4_zeros"]


def named(thing: Kernel | Variant) -> str:
    return thing.name


@pytest.fixture(autouse=True, scope="module")
def _compiler() -> None:
    need_compiler()


@pytest.mark.parametrize(("kernel", "variant"), VARIANTS, ids=named)
def test_every_form_is_the_formula_with_ragged_ends(kernel: Kernel, variant: Variant) -> None:
    agree(kernel, variant, drawn(kernel, variant, T=1, S=2, E=4, H=96, I=96))
    agree(kernel, variant, drawn(kernel, variant, T=5 if kernel.decode else 90, S=2, E=3, H=203, I=77))


@settings(max_examples=40, deadline=None)
@given(
    form=st.sampled_from(VARIANTS),
    tokens=st.integers(1, 40),
    choices=st.integers(1, 8),
    experts=st.integers(8, 12),
    width=st.integers(1, 280),
    inner=st.integers(1, 150),
    seed=st.integers(0, 99),
)
def test_of_any_shape(
    form: tuple[Kernel, Variant], tokens: int, choices: int, experts: int, width: int, inner: int, seed: int
) -> None:
    kernel, variant = form
    tokens = min(tokens, 4) if kernel.decode else tokens
    agree(kernel, variant, drawn(kernel, variant, seed, T=tokens, S=choices, E=experts, H=width, I=inner))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_both_ways_through_are_the_mixture(form: Any) -> None:
    rng = np.random.default_rng(5)
    experts = Experts.drawn(rng, form, count=4, width=96, inner=96)
    logits = rng.standard_normal((150, 4), np.float32)
    x = rng.standard_normal((150, 96), np.float32).astype(experts.kind)
    want = naive_mixture(experts, x, logits, chosen=2)

    assert_close(many_tokens(experts, x, logits), want, experts.tolerance, "grouped")
    assert_close(few_tokens(experts, x[:3], logits[:3]), want[:3], experts.tolerance, "pair by pair")


def test_eight_of_256_experts_both_ways() -> None:
    rng = np.random.default_rng(8)
    experts = Experts.drawn(rng, FORMS[1], count=256, width=64, inner=32)
    logits = rng.standard_normal((20, 256), np.float32)
    x = rng.standard_normal((20, 64), np.float32).astype(experts.kind)
    want = naive_mixture(experts, x, logits, chosen=8)

    assert_close(many_tokens(experts, x, logits, 8), want, experts.tolerance, "grouped")
    assert_close(few_tokens(experts, x[:2], logits[:2], 8), want[:2], experts.tolerance, "pair by pair")


def test_all_tokens_may_choose_the_same_experts() -> None:
    rng = np.random.default_rng(6)
    experts = Experts.drawn(rng, FORMS[0], count=4, width=64, inner=40)
    x = rng.standard_normal((130, 64), np.float32).astype(experts.kind)
    logits = np.tile(np.array([0, 3, 1, -2], np.float32), (130, 1))

    want = naive_mixture(experts, x, logits, chosen=2)
    assert_close(many_tokens(experts, x, logits), want, experts.tolerance, "grouped")


@pytest.mark.parametrize("through", [few_tokens, many_tokens], ids=["pair by pair", "grouped"])
@pytest.mark.parametrize("spoilt", ["x", "logits"])
def test_what_is_no_number_spoils_its_token_and_no_other(through: Any, spoilt: str) -> None:
    rng = np.random.default_rng(7)
    experts = Experts.drawn(rng, FORMS[1], count=4, width=96, inner=33)
    given_ = {
        "x": rng.standard_normal((5, 96), np.float32).astype(experts.kind),
        "logits": rng.standard_normal((5, 4), np.float32),
    }
    clean = through(experts, **given_)
    given_[spoilt][2, 3] = np.nan

    found = through(experts, **given_)

    assert np.isnan(found[2]).all()
    rest = [0, 1, 3, 4]
    assert found[rest].tobytes() == clean[rest].tobytes()


def numbers_of_none(case_inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    experts = case_inputs["experts"].copy()
    experts[1, 0], experts[2, 1] = 99, -1
    return {**case_inputs, "experts": experts}


@pytest.mark.parametrize("name", ["moe_gate_up", "moe_down", "moe_down_int4_zeros"])
def test_an_expert_that_there_is_not_gives_no_number_and_is_not_read(name: str) -> None:
    kernel = KERNELS[name]
    variant = kernel.variants[0]
    case = drawn(kernel, variant, T=3, S=2, E=4, H=64, I=40)

    (found,) = run(kernel, variant, numbers_of_none(dict(case.inputs))).values()

    if found.ndim == 3:  # [T, S, I]
        assert np.isnan(found[1, 0]).all()
        assert np.isnan(found[2, 1]).all()
        assert np.isfinite(found[1, 1]).all()
    else:
        assert np.isnan(found[1:]).all()
    assert np.isfinite(found[0]).all()


def test_a_pair_without_an_expert_is_not_added_as_if_it_were() -> None:
    variant = find_variant(COMBINE, "float16-4")
    case = drawn(COMBINE, variant, T=3, S=2, H=70)

    found = run(COMBINE, variant, numbers_of_none(dict(case.inputs)))["y"]

    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize("variant", COMBINE.variants, ids=named)
def test_combining_is_the_formula(variant: Variant) -> None:
    agree(COMBINE, variant, drawn(COMBINE, variant, T=7, S=3, H=200))


def test_grouped_blocks_without_a_tile_write_nothing() -> None:
    kernel = KERNELS["moe_grouped_down"]
    variant = kernel.variants[0]
    case = drawn(kernel, variant, T=4, S=1, E=9, H=40, I=24)
    one = np.full((4, 1), 8, np.int32)
    order, groups = group(one, 9, 64)

    agree(kernel, variant, replace(case, inputs={**case.inputs, "order": order, "groups": groups}))


@pytest.mark.parametrize("name", SANITIZED)
def test_the_same_bits_in_any_order(name: str) -> None:
    kernel = KERNELS[name]
    variant = kernel.variants[0]
    same_in_any_order(kernel, variant, drawn(kernel, variant, T=40, S=2, E=3, H=150, I=45))


@pytest.mark.parametrize("mode", [Mode.ADDRESS, Mode.THREAD], ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", SANITIZED)
def test_nothing_is_read_or_written_that_is_not_its_own(name: str, mode: Mode) -> None:
    kernel = KERNELS[name]
    variant = kernel.variants[0]

    agree(kernel, variant, drawn(kernel, variant, T=1, S=2, E=3, H=43, I=21), mode=mode)
