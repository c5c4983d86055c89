"""Each consumer is given everything, in order, until it has acknowledged it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from store_samples import GENEROUS_S, Samples, TestClock

from lineside.daemon.store import Store, schema


@pytest.fixture
def filled(store: Store, samples: Samples) -> Store:
    for future in [store.commit(samples.draft()) for _ in range(6)]:
        future.result(GENEROUS_S)
    return store


def pending(store: Store, consumer: str = "mqtt", **limits: int) -> list[int]:
    return [result.sequence for result in store.pending(consumer, **limits)]


def test_a_new_consumer_has_everything_still_to_come(filled: Store) -> None:
    assert pending(filled) == [1, 2, 3, 4, 5, 6]
    assert pending(filled, limit=2) == [1, 2]
    assert pending(filled, limit=2, after=2) == [3, 4]
    assert filled.depth("mqtt") == 6


def test_acknowledgements_may_come_in_any_order_and_twice(filled: Store) -> None:
    filled.acknowledge("mqtt", [2, 5]).result(GENEROUS_S)
    assert pending(filled) == [1, 3, 4, 6]
    filled.acknowledge("mqtt", [1, 2, 2]).result(GENEROUS_S)
    assert pending(filled) == [3, 4, 6]
    assert filled.depth("mqtt") == 3
    filled.acknowledge("mqtt", [4, 3, 6]).result(GENEROUS_S)
    assert pending(filled) == []
    assert filled.depth("mqtt") == 0
    assert filled.oldest_unsent_age("mqtt") is None


def test_consumers_do_not_disturb_each_other(filled: Store) -> None:
    filled.acknowledge("mqtt", [1, 2, 3]).result(GENEROUS_S)
    assert pending(filled, "sparkplug") == [1, 2, 3, 4, 5, 6]
    assert (filled.depth("mqtt"), filled.depth("sparkplug")) == (3, 6)


def test_what_was_acknowledged_stays_so_after_reopening(
    filled: Store, open_store: Callable[..., Store]
) -> None:
    filled.acknowledge("mqtt", [1, 2, 4]).result(GENEROUS_S)
    filled.close()
    assert pending(open_store()) == [3, 5, 6]


def test_a_result_to_come_cannot_be_acknowledged(filled: Store, samples: Samples) -> None:
    with pytest.raises(ValueError, match="the last sequence is 6"):
        filled.acknowledge("mqtt", [1, 7]).result(GENEROUS_S)
    filled.commit(samples.draft()).result(GENEROUS_S)
    assert pending(filled) == [1, 2, 3, 4, 5, 6, 7]


def test_the_list_beyond_the_cursor_is_emptied_as_the_cursor_moves(filled: Store) -> None:
    for sequence in (6, 5, 4, 3, 2):
        filled.acknowledge("mqtt", [sequence]).result(GENEROUS_S)
    assert listed(filled) == 5
    filled.acknowledge("mqtt", [1]).result(GENEROUS_S)
    assert listed(filled) == 0


def test_the_age_is_that_of_the_oldest_result_not_acknowledged(filled: Store, clock: TestClock) -> None:
    clock.time = filled.since(2, 1)[0].draft.decided_at + timedelta(seconds=90)
    filled.acknowledge("mqtt", [1, 2]).result(GENEROUS_S)
    assert filled.oldest_unsent_age("mqtt") == pytest.approx(90, abs=1)


def listed(store: Store) -> int:
    with store._readers.begin() as connection:
        return connection.execute(select(func.count()).select_from(schema.acknowledgements)).scalar_one()
