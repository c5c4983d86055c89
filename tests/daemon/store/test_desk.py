"""Jobs, reviews, changes and repeated requests: kept across restarts, in the same file as results."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import GENEROUS_S, Samples, TestClock

from lineside.daemon.jobs import HOLDS_STATION, OVER, Job, JobMove, JobRefused, JobState
from lineside.daemon.store import Store, changes, requests
from lineside.daemon.store.changes import Change
from lineside.daemon.store.desk import Desk
from lineside.daemon.store.requests import RequestKey, RequestReused
from lineside.daemon.store.reviews import Review
from lineside.daemon.values import Verdict

STORED = Path(__file__).parent / "data"
KEY = RequestKey("st1", "call-1", "ab" * 32)


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    return open_store()


@pytest.fixture
def desk(store: Store, clock: TestClock) -> Desk:
    return Desk(store, clock)


def job_of(clock: TestClock, name: str = "J1", station: str = "st1") -> Job:
    return Job(name, station, clock.now(), lot="L1", quantity=10, expected={"colour": "red"})


def change_of(clock: TestClock, number: int = 0) -> Change:
    return Change(clock.now(), "spiffe://n/lineside/admin/anna", "admin", f"/m/{number}", "devices/-", "OK")


class TestRequests:
    def test_a_request_is_noted_with_its_part_and_outlives_the_process(
        self, store: Store, samples: Samples, open_store: Callable[..., Store], clock: TestClock
    ) -> None:
        intake = samples.intake()
        store.accept(intake, KEY).result(GENEROUS_S)
        store.close()
        again = Desk(open_store(), clock)
        assert again.outcome(KEY) == intake.result_id
        assert again.outcome(replace(KEY, request_id="call-2")) is None
        assert again.outcome(replace(KEY, scope="st2")) is None

    def test_an_id_used_for_another_call_is_not_answered_with_its_outcome(self, desk: Desk) -> None:
        desk.remember(KEY, "r1")
        with pytest.raises(RequestReused, match="choose a new one"):
            desk.outcome(replace(KEY, digest="cd" * 32))

    def test_the_oldest_are_forgotten_beyond_the_bound(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(requests, "MOST", 3)
        keys = [replace(KEY, request_id=str(number)) for number in range(5)]
        for key in keys:
            desk.remember(key, key.request_id)
        assert [desk.outcome(key) for key in keys] == [None, None, "2", "3", "4"]


class TestJobs:
    def test_a_job_lives_through_its_states(self, desk: Desk, clock: TestClock) -> None:
        stored = desk.create_job(job_of(clock), None)
        assert (stored.state, stored.values()["lot"]) == (JobState.ALLOWED_TO_START, "L1")
        states = [
            desk.move_job("J1", move, "", None).state
            for move in (JobMove.START, JobMove.PAUSE, JobMove.RESUME, JobMove.STOP)
        ]
        assert states == [JobState.RUNNING, JobState.INTERRUPTED, JobState.RUNNING, JobState.ENDED]
        found = desk.get_job("J1")
        assert found is not None
        assert found.started_at is not None
        assert found.ended_at is not None

    def test_a_station_works_on_one_job(self, desk: Desk, clock: TestClock) -> None:
        for name in ("J1", "J2"):
            desk.create_job(job_of(clock, name), None)
        desk.move_job("J1", JobMove.START, "", None)
        with pytest.raises(JobRefused, match="works on job 'J1'"):
            desk.move_job("J2", JobMove.START, "", None)
        assert {station: job.job for station, job in desk.holding().items()} == {"st1": "J1"}

    def test_an_old_etag_changes_nothing(self, desk: Desk, clock: TestClock) -> None:
        etag = desk.create_job(job_of(clock), None).etag
        desk.update_job("J1", lambda job: replace(job, lot="L2"), etag, None)
        with pytest.raises(JobRefused, match="read it again") as refused:
            desk.update_job("J1", lambda job: replace(job, lot="L3"), etag, None)
        assert refused.value.reason == "ETAG_MISMATCH"
        found = desk.get_job("J1")
        assert found is not None
        assert found.lot == "L2"

    def test_a_repeated_call_does_nothing_twice(self, desk: Desk, clock: TestClock) -> None:
        desk.create_job(job_of(clock), KEY)
        again = desk.create_job(job_of(clock), KEY)
        assert again.job == "J1"
        with pytest.raises(JobRefused, match="stored already"):
            desk.create_job(job_of(clock), None)
        start = replace(KEY, request_id="start")
        desk.move_job("J1", JobMove.START, "", start)
        assert desk.move_job("J1", JobMove.START, "", start).state is JobState.RUNNING

    def test_verdicts_are_counted_under_the_job_that_the_part_names(
        self, desk: Desk, store: Store, samples: Samples, clock: TestClock
    ) -> None:
        desk.create_job(job_of(clock), None)
        for verdict, job in ((Verdict.OK, "J1"), (Verdict.NOT_OK, "J1"), (Verdict.OK, "J9")):
            draft = samples.draft(verdict=verdict)
            draft = replace(draft, intake=replace(draft.intake, expected={"job": job}))
            store.commit(draft).result(GENEROUS_S)
            store.commit(draft).result(GENEROUS_S)  # a second time counts once
        found = desk.get_job("J1")
        assert found is not None
        assert found.counts == {Verdict.OK: 1, Verdict.NOT_OK: 1}
        assert desk.get_job("J9") is None

    def test_a_job_that_runs_is_not_deleted(self, desk: Desk, clock: TestClock) -> None:
        desk.create_job(job_of(clock), None)
        desk.move_job("J1", JobMove.START, "", None)
        with pytest.raises(JobRefused, match="stop it first"):
            desk.delete_job("J1", "")
        desk.move_job("J1", JobMove.ABORT, "", None)
        desk.delete_job("J1", "")
        assert desk.get_job("J1") is None

    def test_what_is_refused_is_no_alarm(self, desk: Desk, alarms: list[object]) -> None:
        with pytest.raises(JobRefused):
            desk.move_job("J1", JobMove.START, "", None)
        assert alarms == []


@given(st.lists(st.sampled_from(JobMove), max_size=8))
def test_no_moves_bring_an_ended_job_back(moves: list[JobMove]) -> None:
    clock = TestClock()
    job = job_of(clock)
    for move in moves:
        before = job
        try:
            job = job.moved(move, clock.now())
        except JobRefused:
            assert job == before
        assert before.state not in OVER or job is before
        assert (job.started_at is None) or job.state is not JobState.ALLOWED_TO_START
        assert job.state not in HOLDS_STATION or job.ended_at is None


class TestReviews:
    def test_reviews_are_kept_in_order_and_once_a_request(self, desk: Desk, clock: TestClock) -> None:
        review = Review(
            "r1", Verdict.OK, Verdict.NOT_DECIDABLE, {"cap": "ok"}, "fine", "anna", "me", clock.now()
        )
        first = desk.review(review, KEY)
        assert desk.review(review, KEY) == first
        second = desk.review(replace(review, result_id="r2"), None)
        assert [one.number for one in desk.reviews(0, 10, None)] == [first.number, second.number]
        assert desk.reviews(0, 10, "r2") == [second]
        assert desk.get_review(first.number) == replace(review, number=first.number)


class TestChanges:
    def test_they_are_kept_in_order(self, desk: Desk, store: Store, clock: TestClock) -> None:
        for number in range(4):
            desk.note(change_of(clock, number))
        desk.remember(KEY, "written after the notes")
        assert [row.change.method for row in desk.changes(1, 2)] == ["/m/1", "/m/2"]
        assert store.read(changes.verify) is None

    @pytest.mark.parametrize(
        ("tamper", "at"),
        [
            ("UPDATE changes SET record = replace(record, 'anna', 'eve') WHERE sequence = 3", 3),
            ("DELETE FROM changes WHERE sequence = 2", 3),
        ],
    )
    def test_tampering_is_found(
        self,
        desk: Desk,
        store: Store,
        clock: TestClock,
        open_store: Callable[..., Store],
        tamper: str,
        at: int,
    ) -> None:
        for number in range(4):
            desk.note(change_of(clock, number))
        store.close()
        with closing(sqlite3.connect(store._file)) as connection, connection:
            connection.execute(tamper)
        broken = open_store().read(changes.verify)
        assert broken is not None
        assert broken.sequence == at

    def test_the_oldest_are_forgotten_and_the_rest_still_holds(
        self, desk: Desk, store: Store, clock: TestClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(changes, "MOST", 3)
        for number in range(5):
            desk.note(change_of(clock, number))
        desk.remember(KEY, "written after the notes")
        assert [row.sequence for row in desk.changes(0, 10)] == [3, 4, 5]
        assert store.read(changes.verify) is None


def restore(name: str, file: Path) -> None:
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((STORED / name).read_text())


@pytest.mark.parametrize("release", ["v0001.sql", "v0002.sql"])
def test_a_database_of_an_earlier_release_takes_jobs_and_reviews(
    open_store: Callable[..., Store], tmp_path: Path, clock: TestClock, release: str
) -> None:
    restore(release, tmp_path / "store" / "database" / "results.sqlite")
    store = open_store()
    desk = Desk(store, clock)
    desk.create_job(job_of(clock), KEY)
    desk.note(change_of(clock))
    assert desk.outcome(KEY) == "J1"
    assert store.verify().ok


def test_a_database_of_the_third_release_opens(
    open_store: Callable[..., Store], tmp_path: Path, clock: TestClock
) -> None:
    restore("v0003.sql", tmp_path / "store" / "database" / "results.sqlite")
    store = open_store()
    desk = Desk(store, clock)
    job = desk.get_job("J1")
    assert job is not None
    assert (job.state, job.lot, job.counts) == (JobState.RUNNING, "L1", {Verdict.OK: 1})
    assert [review.evaluation for review in desk.reviews(0, 10, None)] == [Verdict.NOT_OK]
    assert [row.change.role for row in desk.changes(0, 10)] == ["admin"]
    assert desk.outcome(KEY) == "J1"
    assert store.read(changes.verify) is None
    assert store.verify().ok
