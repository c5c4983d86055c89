"""Batches are the same whoever draws them."""

from __future__ import annotations

import numpy as np

from lineside.engines.demo.feed import batches, draw_batch

SHARES = {"cap": 3, "blister": 1, "code": 2}


def test_a_batch_is_fixed_by_seed_and_number() -> None:
    first, again, other = draw_batch(7, 4, SHARES), draw_batch(7, 4, SHARES), draw_batch(7, 5, SHARES)

    assert first.truths == again.truths != other.truths
    for region, count in SHARES.items():
        assert first.pictures[region].shape[0] == count
        np.testing.assert_array_equal(first.pictures[region], again.pictures[region])
    assert first.flaws.shape == (3, 64)


def test_the_background_worker_draws_the_same_batches() -> None:
    drawn = list(batches(7, 2, 4, SHARES))

    assert [batch.truths for batch in drawn] == [draw_batch(7, n, SHARES).truths for n in (2, 3)]
