"""One thread writes: in order, in groups, without dropping, and one bad request harms no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection
from store_samples import GENEROUS_S, Samples, commits_in_log

from lineside.daemon.store import Alarm, AlarmCode, Store, StoreBusy, StoreClosed
from lineside.daemon.store.evidence import Kept
from lineside.daemon.store.writer import BATCH_SIZE, QUEUE_SIZE, Request


@contextmanager
def writer_held(store: Store) -> Iterator[None]:
    """The writer sits inside a transaction while the block runs."""
    entered, leave = threading.Event(), threading.Event()

    def hold(_connection: Connection, _kept: Kept) -> None:
        entered.set()
        assert leave.wait(GENEROUS_S)

    store._writer.submit(Request(apply=hold), GENEROUS_S)
    assert entered.wait(GENEROUS_S)
    try:
        yield
    finally:
        leave.set()


def test_the_write_connection_waits_for_the_disk(store: Store) -> None:
    with store._engine.connect() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_what_arrives_together_shares_one_transaction_and_so_one_fsync(
    store: Store, samples: Samples
) -> None:
    log = store._file.with_name("results.sqlite-wal")
    before = len(commits_in_log(log))
    with writer_held(store):
        futures = [store.accept(samples.intake()) for _ in range(BATCH_SIZE)]
        assert store.healthy().pending_writes == BATCH_SIZE + 1
    for future in futures:
        future.result(GENEROUS_S)
    assert len(commits_in_log(log)) == before + 1
    assert store.counts().open_intakes == BATCH_SIZE


def test_one_after_the_other_each_has_its_own(store: Store, samples: Samples) -> None:
    log = store._file.with_name("results.sqlite-wal")
    before = len(commits_in_log(log))
    for _ in range(5):
        store.accept(samples.intake()).result(GENEROUS_S)
    assert len(commits_in_log(log)) == before + 5


def test_results_are_numbered_in_the_order_of_the_calls(store: Store, samples: Samples) -> None:
    drafts = [samples.draft() for _ in range(3 * BATCH_SIZE)]
    with writer_held(store):
        futures = [store.commit(draft) for draft in drafts]
    results = [future.result(GENEROUS_S) for future in futures]
    assert [result.sequence for result in results] == list(range(1, len(drafts) + 1))
    assert [result.draft for result in results] == drafts


def test_a_full_queue_blocks_then_refuses_and_drops_nothing(
    open_store: Callable[..., Store], samples: Samples
) -> None:
    store = open_store(queue_timeout_s=0.05)
    with writer_held(store):
        futures = [store.accept(samples.intake()) for _ in range(QUEUE_SIZE)]
        with pytest.raises(StoreBusy):
            store.accept(samples.intake())
    for future in futures:
        future.result(GENEROUS_S)
    assert store.counts().open_intakes == QUEUE_SIZE


def test_a_blocked_caller_goes_on_as_soon_as_there_is_room(
    open_store: Callable[..., Store], samples: Samples
) -> None:
    store = open_store(queue_timeout_s=GENEROUS_S)
    late: list[int] = []
    with writer_held(store):
        for _ in range(QUEUE_SIZE):
            store.accept(samples.intake())
        caller = threading.Thread(
            target=lambda: late.append(store.commit(samples.draft()).result(GENEROUS_S).sequence)
        )
        caller.start()
    caller.join(GENEROUS_S)
    assert late == [1]


def test_a_request_at_fault_fails_alone(store: Store, samples: Samples, alarms: list[Alarm]) -> None:
    drafts = [samples.draft() for _ in range(4)]
    with writer_held(store):
        before = [store.commit(draft) for draft in drafts[:2]]
        wrong = store.acknowledge("mqtt", [99])
        after = [store.commit(draft) for draft in drafts[2:]]
    with pytest.raises(ValueError, match="acknowledges 99, but the last sequence is"):
        wrong.result(GENEROUS_S)
    assert [future.result(GENEROUS_S).sequence for future in before + after] == [1, 2, 3, 4]
    assert [alarm.code for alarm in alarms] == [AlarmCode.REQUEST_REFUSED]
    assert store.verify().ok


def test_closing_writes_what_was_taken_and_takes_no_more(store: Store, samples: Samples) -> None:
    with writer_held(store):
        futures = [store.commit(samples.draft()) for _ in range(10)]
    store.close()
    assert [future.result(0).sequence for future in futures] == list(range(1, 11))
    with pytest.raises(StoreClosed):
        store.accept(samples.intake())


def test_an_accepted_request_cannot_be_cancelled_by_its_caller(store: Store, samples: Samples) -> None:
    with writer_held(store):
        future = store.commit(samples.draft())
        assert not future.cancel()
    assert future.result(GENEROUS_S).sequence == 1


def test_a_listener_that_fails_does_not_stop_the_writer(
    open_store: Callable[..., Store], samples: Samples, clock: object
) -> None:
    def listener(alarm: Alarm) -> None:
        raise RuntimeError("a fault of the listener")

    store = open_store()
    store._tell = listener
    with pytest.raises(ValueError, match="acknowledges 1"):
        store.acknowledge("mqtt", [1]).result(GENEROUS_S)
    assert store.commit(samples.draft()).result(GENEROUS_S).sequence == 1
