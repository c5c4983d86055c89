"""Statistics against values that others have published, and against what must hold for any counts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.dashboard.present import wilson
from lineside.dashboard.reading.estimates import Stratum, escapes
from lineside.dashboard.reading.statistics import (
    Subgroup,
    clopper_pearson,
    incomplete_beta,
    p_chart,
    pareto,
    run_rules,
)


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k), by adding up."""
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


@pytest.mark.parametrize(
    ("part", "total", "low", "high"),
    [
        # Exact limits as printed in tables of the binomial distribution (95 %, two-sided).
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (0, 100, 0.0, 0.0362),
        (4, 20, 0.0573, 0.4366),
    ],
)
def test_the_exact_interval_is_the_printed_one(part: int, total: int, low: float, high: float) -> None:
    assert clopper_pearson(part, total) == pytest.approx((low, high), abs=5e-5)


def test_three_in_a_thousand_is_the_rule_of_three() -> None:
    assert clopper_pearson(0, 1000, 0.90)[1] == pytest.approx(3 / 1000, rel=0.01)
    assert clopper_pearson(0, 10_000_000)[1] == pytest.approx(3.689e-7, rel=1e-3)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_exact_interval_leaves_what_it_should_in_each_tail(counts: tuple[int, int]) -> None:
    part, total = counts
    low, high = clopper_pearson(part, total)
    assert 0 <= low <= part / total <= high <= 1
    if part:
        assert binomial_tail(part, total, low) == pytest.approx(0.025, abs=1e-9)
    if part < total:
        assert 1 - binomial_tail(part + 1, total, high) == pytest.approx(0.025, abs=1e-9)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share(counts: tuple[int, int]) -> None:
    low, high = wilson(*counts)
    assert low - 1e-12 <= counts[0] / counts[1] <= high + 1e-12


def test_wilson_is_the_published_one() -> None:
    assert wilson(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)


@given(st.floats(0.1, 400), st.floats(0.1, 400), st.floats(0.001, 0.999))
def test_the_beta_function_is_its_mirror(a: float, b: float, x: float) -> None:
    assert incomplete_beta(a, b, x) == pytest.approx(1 - incomplete_beta(b, a, 1 - x), abs=1e-9)


@pytest.mark.parametrize(("part", "total"), [(-1, 3), (4, 3), (0, 0)])
def test_what_is_no_share_is_refused(part: int, total: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        clopper_pearson(part, total)


# The chart.


def test_limits_are_three_standard_deviations_of_each_subgroups_own_size() -> None:
    chart = p_chart([Subgroup(100, 10), Subgroup(400, 40), Subgroup(0, 0)])
    assert chart.centre == pytest.approx(0.1)
    assert [(round(p.low, 4), round(p.high, 4)) for p in chart.points] == [(0.01, 0.19), (0.055, 0.145)]
    assert [p.rules for p in chart.points] == [(), ()]


def test_the_lower_limit_is_never_below_nothing() -> None:
    assert p_chart([Subgroup(20, 1), Subgroup(20, 0)]).points[0].low == 0.0


def test_a_chart_of_nothing_and_one_without_defects_are_calm() -> None:
    assert p_chart([]).points == ()
    calm = p_chart([Subgroup(50, 0)] * 12)
    assert all(p.rules == () and p.low == p.high == 0.0 for p in calm.points)


def test_shares_that_vary_more_than_chance_get_wider_limits() -> None:
    wild = p_chart([Subgroup(100_000, 1000 + (200 if i % 3 else -200)) for i in range(12)])
    assert wild.widened
    assert wild.spread > 3
    assert not any(1 in p.rules for p in wild.points)


@pytest.mark.parametrize(
    ("rule", "scores", "where"),
    [
        (1, [0, 0.5, 3.1, 0], [2]),
        (2, [0.2] * 9 + [-0.1], [8]),
        (2, [-0.2] * 10, [8, 9]),
        (3, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.4], [5]),
        (3, [0.5, 0.4, 0.3, 0.2, 0.1, 0.0], [5]),
        (4, [0.1, -0.1] * 7, [13]),
        (5, [2.1, 0, 2.2, 0], [2]),
        (5, [2.1, -2.2, 0.0], []),
        (6, [1.1, 1.2, 0, 1.3, 1.4, 0.1], [4]),
        (6, [1.1, 1.2, 0, 1.3, 0.4], []),
    ],
)
def test_a_rule_marks_the_point_that_completes_it(rule: int, scores: list[float], where: list[int]) -> None:
    assert [i for i, rules in enumerate(run_rules(scores)) if rule in rules] == where


@given(st.lists(st.floats(-5, 5), max_size=40))
def test_a_mirrored_chart_breaks_the_same_rules(scores: list[float]) -> None:
    assert run_rules(scores) == run_rules([-z for z in scores])


@given(st.dictionaries(st.text(max_size=5), st.integers(0, 10_000), max_size=12))
def test_a_pareto_falls_and_ends_at_all(counts: dict[str, int]) -> None:
    bars = pareto(list(counts.items()))
    assert [b.n for b in bars] == sorted((n for n in counts.values() if n), reverse=True)
    if bars:
        assert bars[-1].cumulative == pytest.approx(1.0)


# Escapes.


def test_what_nobody_reviewed_has_no_escape_rate() -> None:
    told = escapes(Stratum(10_000), Stratum(50, good=5, bad=45), Stratum(0))
    assert told.passed_bad.share is None
    assert told.escape.share is None
    assert told.overkill.share is None


def test_an_escape_rate_by_hand() -> None:
    # 10,000 passed, 200 of them looked at, 2 bad: about 100 bad passed. All 100 NG looked at: 80 bad.
    told = escapes(Stratum(10_000, good=198, bad=2), Stratum(100, good=20, bad=80), Stratum(0))
    assert told.passed_bad.share == pytest.approx(0.01)
    assert (told.passed_bad.low, told.passed_bad.high) == pytest.approx((0.00121, 0.03565), abs=1e-5)
    assert told.escape.share == pytest.approx(100 / 180)
    assert told.overkill.share == pytest.approx(20 / 9920)
    assert told.escape.n == 300
    assert told.escape.low < 100 / 180 < told.escape.high


def test_with_every_part_reviewed_nothing_is_estimated() -> None:
    told = escapes(Stratum(90, good=88, bad=2), Stratum(10, good=1, bad=9), Stratum(0))
    assert (told.escape.low, told.escape.share, told.escape.high) == pytest.approx((2 / 11,) * 3)
    assert (told.overkill.low, told.overkill.high) == pytest.approx((1 / 89,) * 2)


def test_a_line_without_bad_parts_has_no_rate_of_them() -> None:
    assert escapes(Stratum(10, good=10), Stratum(0), Stratum(0)).escape.share is None


@st.composite
def strata(draw: st.DrawFn) -> Stratum:
    judged = draw(st.integers(0, 5000))
    reviewed = draw(st.integers(0, judged))
    bad = draw(st.integers(0, reviewed))
    return Stratum(judged, good=reviewed - bad, bad=bad)


@given(strata(), strata(), strata())
def test_a_rate_lies_in_its_interval(ok: Stratum, ng: Stratum, nd: Stratum) -> None:
    told = escapes(ok, ng, nd)
    for estimate in (told.passed_bad, told.escape, told.overkill):
        if estimate.share is not None:
            assert 0 <= estimate.low <= estimate.share + 1e-9
            assert estimate.share - 1e-9 <= estimate.high <= 1
