"""Routing and grouping in CUDA, run on the CPU: ties, extremes, what has no answer, every pair once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from on_host import agree, assert_close, drawn, need_compiler, same_in_any_order

from lineside.plugins.host.build import Mode
from lineside.plugins.host.run import run
from lineside.plugins.moe.experts import GROUP_TILE
from lineside.plugins.moe.naive import group, pair_experts, route
from lineside.plugins.moe.shapes import GROUP, ROUTE, routing_variant
from lineside.plugins.operator import Variant

DEMO, LARGE = ROUTE.variants
ODD = routing_variant(40, 7)
EVERY_ONE = routing_variant(5, 5)
VARIANTS = [DEMO, LARGE, ODD, EVERY_ONE]

Routed = tuple[NDArray[np.int32], NDArray[np.float32]]


@pytest.fixture(autouse=True, scope="module")
def _compiler() -> None:
    need_compiler()


def numbers(variant: Variant) -> tuple[int, int]:
    return int(variant.macros["EXPERTS"]), int(variant.macros["TOP_K"])


def routed(variant: Variant, logits: NDArray[Any]) -> Routed:
    found = run(ROUTE, variant, {"logits": logits.astype(np.float32)})
    return found["experts"], found["weights"]


def rows_of(logits: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[Variant, NDArray[np.float32]]]:
    """A variant, and one to nine rows of logits for it."""

    def rows(variant: Variant) -> st.SearchStrategy[tuple[Variant, NDArray[np.float32]]]:
        shape = st.tuples(st.integers(1, 9), st.just(numbers(variant)[0]))
        return st.tuples(st.just(variant), arrays.arrays(np.float32, shape, elements=logits))

    return st.sampled_from(VARIANTS).flatmap(rows)


FEW_DIFFERENT = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
EXTREME = st.sampled_from([-np.inf, -3e38, -200.0, -1e-45, 0.0, 1e-45, 1.0, 88.0, 3e38])
WITHOUT_ANSWER = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0])


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_it_is_the_formula(variant: Variant) -> None:
    agree(ROUTE, variant, drawn(ROUTE, variant, T=11))


@settings(max_examples=100, deadline=None)
@given(rows_of(FEW_DIFFERENT) | rows_of(EXTREME) | rows_of(WITHOUT_ANSWER))
def test_of_any_logits(drawn_rows: tuple[Variant, NDArray[np.float32]]) -> None:
    variant, logits = drawn_rows
    experts, weights = routed(variant, logits)

    want_experts, want_weights = route(logits, numbers(variant)[1])
    assert (experts == want_experts).all()
    np.testing.assert_allclose(weights, want_weights, rtol=1e-5, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(rows_of(FEW_DIFFERENT) | rows_of(EXTREME.filter(np.isfinite)))
def test_weights_add_up_to_one_and_fall_and_experts_differ(
    drawn_rows: tuple[Variant, NDArray[np.float32]],
) -> None:
    experts, weights = routed(*drawn_rows)

    assert np.abs(weights.sum(axis=1) - 1).max() < 1e-5
    assert (np.diff(weights, axis=1) <= 0).all()
    assert all(len(set(row)) == len(row) for row in experts.tolist())


def test_of_equal_logits_the_lower_number_comes_first() -> None:
    experts, weights = routed(LARGE, np.zeros((1, 256)))

    assert experts.tolist() == [list(range(8))]
    assert (weights == 0.125).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 31, 32, 255])
def test_a_logit_without_meaning_leaves_its_token_without_weights(bad: float, place: int) -> None:
    logits = np.random.default_rng(0).standard_normal((6, 256))
    logits[2, place] = bad

    experts, weights = routed(LARGE, logits)

    assert np.isnan(weights[2]).all()
    assert np.isfinite(np.delete(weights, 2, axis=0)).all()
    assert experts.min() >= 0
    assert experts.max() < 256


def test_a_token_that_no_expert_wants_has_no_weights() -> None:
    assert np.isnan(routed(DEMO, np.full((1, 4), -np.inf))[1]).all()


def test_experts_that_are_ruled_out_get_nothing() -> None:
    logits = np.full((1, 256), -np.inf)
    logits[0, [200, 9]] = [1.0, 2.0]

    experts, weights = routed(LARGE, logits)

    assert experts[0, :2].tolist() == [9, 200]
    assert (weights[0, 2:] == 0).all()


@pytest.mark.parametrize(("experts", "chosen"), [(4, 5), (64, 33), (2048, 8), (4, 0)])
def test_numbers_that_the_kernels_do_not_hold_are_refused(experts: int, chosen: int) -> None:
    with pytest.raises(ValueError, match=f"{chosen} of {experts} experts"):
        routing_variant(experts, chosen)


# -- grouping --------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    variant=st.sampled_from([DEMO, LARGE]),
    tokens=st.integers(1, 150),
    choices=st.integers(1, 8),
    crowd=st.integers(1, 256),
    seed=st.integers(0, 99),
)
def test_pairs_are_put_in_the_order_of_their_experts(
    variant: Variant, tokens: int, choices: int, crowd: int, seed: int
) -> None:
    count = numbers(variant)[0]
    experts = np.random.default_rng(seed).integers(0, min(crowd, count), (tokens, choices), np.int32)

    found = run(GROUP, variant, {"experts": experts})

    order, groups = group(experts, count, GROUP_TILE)
    assert (found["order"] == order).all()
    assert (found["groups"] == groups).all()
    assert (pair_experts(found["order"], found["groups"]) == experts).all()


def test_experts_that_there_are_not_are_left_out() -> None:
    experts = np.array([[3, -1], [4, 0], [1000, 3]], np.int32)

    found = run(GROUP, DEMO, {"experts": experts})

    assert found["groups"][:, 1].tolist() == [1, 0, 0, 2]
    assert found["order"].reshape(-1)[:3].tolist() == [3, 0, 5]


def test_the_kernels_tile_is_the_launchs() -> None:
    experts = np.zeros((2, GROUP_TILE), np.int32)

    tiles = run(GROUP, DEMO, {"experts": experts[:1]})["groups"][1:, 2]
    more = run(GROUP, DEMO, {"experts": np.append(experts[:1], [[0]], axis=1)})["groups"][1:, 2]

    assert (tiles.tolist(), more.tolist()) == ([1, 1, 1], [2, 2, 2])


@pytest.mark.parametrize(("kernel", "tokens"), [(ROUTE, 9), (GROUP, 90)], ids=["route", "group"])
def test_the_same_bits_in_any_order(kernel: Any, tokens: int) -> None:
    same_in_any_order(kernel, LARGE, drawn(kernel, LARGE, T=tokens))


@pytest.mark.parametrize("mode", [Mode.ADDRESS, Mode.THREAD], ids=lambda mode: mode.value)
@pytest.mark.parametrize("kernel", [ROUTE, GROUP], ids=lambda kernel: kernel.name)
def test_nothing_is_read_or_written_that_is_not_its_own(kernel: Any, mode: Mode) -> None:
    # Few experts: grouping has a block for each, and every emulated thread costs ThreadSanitizer time.
    agree(kernel, EVERY_ONE, drawn(kernel, EVERY_ONE, T=27), mode=mode)


def test_the_softmax_of_the_chosen_is_the_softmax_of_all_divided_anew() -> None:
    logits = np.random.default_rng(3).standard_normal((20, 256)).astype(np.float32)
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = np.sort(likely, axis=1)[:, :-9:-1]

    assert_close(routed(LARGE, logits)[1], chosen / chosen.sum(axis=1, keepdims=True), 1e-5, "weights")
