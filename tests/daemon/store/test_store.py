"""What callers may rely on while nothing goes wrong."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from store_samples import GENEROUS_S, Samples, TestClock, picture

from lineside.daemon.store import ResultFilter, Store, StoreInUse
from lineside.daemon.store.records import json_of
from lineside.daemon.values import ReasonCode, Result, Verdict


def put(store: Store, samples: Samples, verdict: Verdict = Verdict.OK, **intake: object) -> Result:
    return store.commit(samples.draft(samples.intake(**intake), verdict)).result(GENEROUS_S)


def test_a_result_is_there_once_its_future_resolves(store: Store, samples: Samples) -> None:
    intake = samples.intake()
    store.accept(intake).result(GENEROUS_S)
    assert store.counts().open_intakes == 1
    draft = samples.draft(intake, Verdict.NOT_OK)
    result = store.commit(draft, [picture(b"frame"), picture(b"crop", "crop")]).result(GENEROUS_S)
    assert result.draft == draft
    assert (result.sequence, result.device, result.evidence_lost) == (1, "box-1", False)
    assert [(ref.role, ref.size_bytes) for ref in result.evidence] == [("frame", 5), ("crop", 4)]
    assert [store.read_evidence(ref.evidence_id) for ref in result.evidence] == [b"frame", b"crop"]
    assert store.get(intake.result_id) == result
    assert store.counts().open_intakes == 0


def test_a_second_verdict_for_the_same_part_gives_the_first_one_back(store: Store, samples: Samples) -> None:
    intake = samples.intake()
    first = store.commit(samples.draft(intake, Verdict.NOT_OK)).result(GENEROUS_S)
    second = store.commit(samples.draft(intake, Verdict.OK)).result(GENEROUS_S)
    assert second == first
    assert store.last_sequence() == 1
    assert store.counts().results == 1


def test_an_intake_that_comes_after_its_verdict_opens_nothing(store: Store, samples: Samples) -> None:
    draft = samples.draft()
    store.commit(draft).result(GENEROUS_S)
    store.accept(draft.intake).result(GENEROUS_S)
    assert store.counts().open_intakes == 0


def test_a_draft_that_cannot_be_stored_is_refused_to_its_caller_and_the_intake_stays_open(
    store: Store, samples: Samples
) -> None:
    intake = samples.intake()
    store.accept(intake).result(GENEROUS_S)
    with pytest.raises(ValueError, match="nan"):
        store.commit(samples.draft(intake, timings_ms={"total": float("nan")}))
    assert store.counts().open_intakes == 1
    assert store.get(intake.result_id) is None


def test_what_a_stopped_program_left_open_becomes_undecidable(
    open_store: Callable[..., Store], samples: Samples
) -> None:
    store = open_store()
    left = [samples.intake(), samples.intake(boot_id="boot-before"), samples.intake()]
    for intake in left:
        store.accept(intake).result(GENEROUS_S)
    store.commit(samples.draft(left[2])).result(GENEROUS_S)
    store.close()

    again = open_store()
    live = samples.intake()
    again.accept(live).result(GENEROUS_S)
    recovered = again.recover("boot-a")
    assert [result.result_id for result in recovered] == [left[0].result_id, left[1].result_id]
    assert [result.draft.intake for result in recovered] == left[:2]
    assert {result.verdict for result in recovered} == {Verdict.NOT_DECIDABLE}
    reasons = [result.draft.reasons[0] for result in recovered]
    assert {reason.code for reason in reasons} == {ReasonCode.INTERRUPTED}
    assert reasons[0].message.startswith("the inspection program")
    assert reasons[1].message.startswith("the device")
    # What this run accepted is still being judged: it is not touched.
    assert again.counts().open_intakes == 1
    assert again.recover("boot-a") == []


def test_everything_is_the_same_after_reopening(open_store: Callable[..., Store], samples: Samples) -> None:
    store = open_store()
    results = [put(store, samples, verdict) for verdict in Verdict]
    records = [json_of(result) for result in results]
    store.set_state("part.press-1", "41").result(GENEROUS_S)
    store.close()
    again = open_store()
    assert again.since(0) == results
    assert [json_of(result) for result in again.since(0)] == records
    assert again.last_sequence() == 3
    assert again.state("part.press-1") == "41"
    assert put(again, samples).sequence == 4
    assert again.verify().ok


def test_filters_and_pages(store: Store, samples: Samples, clock: TestClock) -> None:
    first = put(store, samples, Verdict.OK, part_id="A-100%")
    second = put(store, samples, Verdict.NOT_OK, part_id="A-1000")
    clock.time += timedelta(hours=1)
    third = put(store, samples, Verdict.NOT_OK, station="press-2")
    fourth = put(store, samples, Verdict.OK, station="press-2")

    def found(**wanted: object) -> list[int]:
        return [result.sequence for result in store.find(ResultFilter(**wanted))]

    assert found() == [4, 3, 2, 1]
    assert found(station="press-2") == [4, 3]
    assert found(verdict=Verdict.NOT_OK) == [3, 2]
    assert found(part_id="A-1000") == [2]
    assert found(since=third.draft.decided_at) == [4, 3]
    assert found(until=third.draft.decided_at) == [2, 1]
    assert found(text="CRACK") == [3, 2]
    assert found(text="0%") == [1]
    assert found(text=fourth.result_id[:12]) == [4]
    assert found(station="press-2", verdict=Verdict.OK, text="ok") == [4]
    assert found(station="press-9") == []
    assert store.find(ResultFilter(), 2) == [fourth, third]
    assert store.find(ResultFilter(), 2, before_sequence=3) == [second, first]
    assert store.since(1, 2) == [second, third]


def test_counts_are_kept_by_station_and_verdict(store: Store, samples: Samples) -> None:
    for verdict in (Verdict.OK, Verdict.OK, Verdict.NOT_OK):
        put(store, samples, verdict)
    put(store, samples, Verdict.NOT_DECIDABLE, station="press-2")
    counts = store.counts()
    assert counts.results == 4
    assert counts.verdicts == {
        "press-1": {Verdict.OK: 2, Verdict.NOT_OK: 1},
        "press-2": {Verdict.NOT_DECIDABLE: 1},
    }
    assert counts.total(Verdict.OK) == 2


def test_numbers_of_a_counter_are_given_once(open_store: Callable[..., Store]) -> None:
    store = open_store()
    assert store.reserve_numbers("press-1", 100).result(GENEROUS_S) == range(1, 101)
    assert store.reserve_numbers("press-2", 1).result(GENEROUS_S) == range(1, 2)
    store.close()
    assert open_store().reserve_numbers("press-1", 5).result(GENEROUS_S) == range(101, 106)


def test_watchers_wake_on_a_commit(store: Store, samples: Samples) -> None:
    assert not store.wait_beyond(0, timeout_s=0)
    woken = threading.Event()
    seen: list[int] = []

    def watch() -> None:
        cursor = 0
        while len(seen) < 5 and store.wait_beyond(cursor, GENEROUS_S):
            for result in store.since(cursor):
                seen.append(result.sequence)
                cursor = result.sequence
        woken.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(5):
        put(store, samples)
    assert woken.wait(GENEROUS_S)
    watcher.join()
    assert seen == [1, 2, 3, 4, 5]


def test_a_caller_can_wait_for_one_result(store: Store, samples: Samples) -> None:
    draft = samples.draft()
    assert store.wait_result(draft.intake.result_id, timeout_s=0.01) is None
    got: list[Result | None] = []
    waiters = [
        threading.Thread(target=lambda: got.append(store.wait_result(draft.intake.result_id, GENEROUS_S)))
        for _ in range(3)
    ]
    for waiter in waiters:
        waiter.start()
    put(store, samples)
    result = store.commit(draft).result(GENEROUS_S)
    for waiter in waiters:
        waiter.join(GENEROUS_S)
    assert got == [result] * 3
    assert store.wait_result(result.result_id, 0) == result


def test_closing_wakes_everybody_who_waits(store: Store) -> None:
    answers: list[object] = []
    waiters = [
        threading.Thread(target=lambda: answers.append(store.wait_beyond(0, GENEROUS_S))),
        threading.Thread(target=lambda: answers.append(store._arrivals.wait_beyond(5, GENEROUS_S))),
    ]
    for waiter in waiters:
        waiter.start()
    store.close()
    for waiter in waiters:
        waiter.join(GENEROUS_S)
    assert answers == [False, False]


def test_readers_see_whole_results_while_the_writer_writes(store: Store, samples: Samples) -> None:
    stop = threading.Event()
    faults: list[str] = []
    reads = [0, 0, 0]

    def read(number: int) -> None:
        while not stop.is_set():
            page = store.since(max(0, store.last_sequence() - 20))
            sequences = [result.sequence for result in page]
            if sequences != sorted(set(sequences)) or any(
                later.prev_hash != earlier.row_hash for earlier, later in itertools.pairwise(page)
            ):
                faults.append(f"a torn page: {sequences}")
            counts = store.counts()
            if counts.results != sum(counts.total(verdict) for verdict in Verdict):
                faults.append(f"counts do not add up: {counts}")
            reads[number] += 1

    readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for reader in readers:
        reader.start()
    futures = [store.commit(samples.draft(), [picture(b"%d" % n)]) for n in range(150)]
    for future in futures:
        future.result(GENEROUS_S)
    stop.set()
    for reader in readers:
        reader.join(GENEROUS_S)
    assert faults == []
    assert min(reads) > 0


def test_an_open_reader_does_not_hold_up_the_writer(store: Store, samples: Samples) -> None:
    put(store, samples)
    with store._readers.begin() as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM results").scalar_one()
        assert put(store, samples).sequence == 2
        assert connection.exec_driver_sql("SELECT count(*) FROM results").scalar_one() == before


def test_the_order_is_that_of_the_sequence_when_the_clock_steps_back(
    store: Store, samples: Samples, clock: TestClock
) -> None:
    first = put(store, samples)
    clock.time -= timedelta(hours=1)
    clock.is_synchronised = False
    second = put(store, samples)
    assert second.draft.decided_at < first.draft.decided_at
    assert [result.sequence for result in store.since(0)] == [1, 2]
    assert store.find(ResultFilter()) == [second, first]
    assert store.oldest_unsent_age("mqtt") == 0.0
    assert store.verify().ok


def test_a_store_has_one_owner(open_store: Callable[..., Store]) -> None:
    open_store()
    with pytest.raises(StoreInUse, match="another process"):
        open_store()
