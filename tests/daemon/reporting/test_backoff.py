"""Waiting times: growing, bounded, spread."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.reporting.backoff import Backoff

spreads = st.floats(0, 1)


@given(st.integers(1, 10**9), spreads)
def test_it_is_never_longer_than_the_longest_nor_shorter_than_half_the_first(failures, spread):
    assert 0.25 <= Backoff(0.5, 30).delay(failures, spread) <= 30


@given(st.integers(1, 100), spreads)
def test_more_failures_never_wait_less(failures, spread):
    backoff = Backoff(0.5, 30)
    assert backoff.delay(failures + 1, spread) >= backoff.delay(failures, spread)


def test_it_doubles():
    assert [Backoff(1, 10).delay(failures, 1.0) for failures in (1, 2, 3, 4, 5)] == [1, 2, 4, 8, 10]
