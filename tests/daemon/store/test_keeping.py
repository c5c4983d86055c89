"""Pictures are kept as long as they were to be, no wrong clock ends that, and then they go."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from store_samples import GENEROUS_S, Samples, TestClock, picture

from lineside.daemon.store import Alarm, AlarmCode, EvidenceEvicted, EvidenceExpired, Store, retention
from lineside.daemon.store.expiry import FILES_A_PASS
from lineside.daemon.values import Result, Verdict

NONE_GONE = dict.fromkeys(Verdict, 0)


def put(
    store: Store, samples: Samples, data: bytes, verdict: Verdict = Verdict.NOT_OK, **kept_for: float
) -> Result:
    """A result with one picture, kept for a time, or as long as the quota lasts when none is given."""
    draft = samples.draft(verdict=verdict)
    until = draft.decided_at + timedelta(**kept_for) if kept_for else None
    return store.commit(draft, [picture(data)], keep_until=until).result(GENEROUS_S)


def settle(store: Store) -> None:
    """Housekeeping comes after a batch: once a later write is through, it is done."""
    for _ in range(2):
        store.set_state("settled", "").result(GENEROUS_S)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GENEROUS_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def is_kept(store: Store, data: bytes) -> bool:
    try:
        return store.read_evidence(name(data)) == data
    except EvidenceExpired:
        return False


def test_a_picture_goes_when_its_time_is_over_and_the_result_stays(
    store: Store, samples: Samples, clock: TestClock, tmp_path: Path
) -> None:
    result = put(store, samples, b"bad part", days=90)
    clock.pass_time(days=89, hours=23)
    settle(store)
    assert is_kept(store, b"bad part")
    clock.pass_time(hours=1, seconds=2)
    settle(store)
    with pytest.raises(EvidenceExpired, match="time of keeping"):
        store.read_evidence(name(b"bad part"))
    assert [path for path in (tmp_path / "store" / "evidence").rglob("*") if path.is_file()] == []
    assert store.get(result.result_id) == result
    counts = store.counts()
    assert (counts.results, counts.evidence_bytes) == (1, 0)
    assert counts.evidence_expired == {**NONE_GONE, Verdict.NOT_OK: 1}
    assert counts.evidence_evicted == NONE_GONE
    assert store.verify().ok


def test_a_picture_without_an_end_stays_as_long_as_the_quota_lasts(
    store: Store, samples: Samples, clock: TestClock
) -> None:
    put(store, samples, b"sample")
    clock.pass_time(days=4000)
    settle(store)
    assert is_kept(store, b"sample")


def test_a_picture_that_comes_again_after_its_time_begins_a_new_one(
    store: Store, samples: Samples, clock: TestClock
) -> None:
    put(store, samples, b"same", days=1)
    clock.pass_time(days=2)
    settle(store)
    assert not is_kept(store, b"same")
    put(store, samples, b"same", days=1)
    assert is_kept(store, b"same")
    assert store.counts().evidence_bytes == 4
    clock.pass_time(days=2)
    settle(store)
    assert not is_kept(store, b"same")
    assert store.counts().evidence_expired[Verdict.NOT_OK] == 2


claims = st.tuples(
    st.sampled_from([b"p", b"q"]),
    st.sampled_from(Verdict),
    st.none() | st.integers(1, 10),
    st.integers(0, 6),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(claims, min_size=1, max_size=6))
def test_a_picture_that_several_results_name_stays_for_the_longest_of_theirs(
    steps: list[tuple[bytes, Verdict, int | None, int]],
) -> None:
    memory = Path("/dev/shm")
    clock = TestClock()
    samples = Samples(clock)
    hour = 0
    ends: dict[bytes, float] = {}
    with (
        tempfile.TemporaryDirectory(prefix="lineside-", dir=memory if memory.is_dir() else None) as folder,
        Store.open(Path(folder), device="box-1", clock=clock) as store,
    ):
        for data, verdict, days, then in steps:
            put(store, samples, data, verdict, **({} if days is None else {"days": days}))
            end = float("inf") if days is None else hour + 24 * days
            ends[data] = max(ends.get(data, 0), end)
            # Five hours more, so that no time ends at the very moment of a look.
            clock.pass_time(hours=24 * then + 5)
            hour += 24 * then + 5
            settle(store)
            assert {one: is_kept(store, one) for one in ends} == {
                one: end > hour for one, end in ends.items()
            }
        assert store.verify().ok


@pytest.mark.parametrize("synchronised", [True, False])
@pytest.mark.parametrize("years", [-40, 12])
def test_a_wall_clock_that_steps_while_it_runs_ends_nothing_and_prolongs_nothing(
    store: Store, samples: Samples, clock: TestClock, synchronised: bool, years: int
) -> None:
    put(store, samples, b"before", days=90)
    clock.is_synchronised = synchronised
    clock.time += timedelta(days=365 * years)
    clock.pass_time(days=1)
    put(store, samples, b"by the wrong clock", days=90)
    settle(store)
    assert is_kept(store, b"before")
    clock.time -= timedelta(days=365 * years)
    clock.pass_time(days=88)
    settle(store)
    assert is_kept(store, b"before")
    assert is_kept(store, b"by the wrong clock")
    clock.pass_time(days=1.5)
    settle(store)
    assert not is_kept(store, b"before")
    assert is_kept(store, b"by the wrong clock")
    clock.pass_time(days=1)
    settle(store)
    assert not is_kept(store, b"by the wrong clock")


@pytest.mark.parametrize(
    ("off_days", "synchronised", "kept", "doubted"),
    [(4, True, True, False), (6, True, False, False), (6, False, True, False), (400, True, True, True)],
)
def test_time_switched_off_counts_by_a_synchronised_clock_and_a_week_at_most(
    open_store: Callable[..., Store],
    samples: Samples,
    clock: TestClock,
    alarms: list[Alarm],
    off_days: int,
    synchronised: bool,
    kept: bool,
    doubted: bool,
) -> None:
    store = open_store()
    put(store, samples, b"picture", days=5 if off_days < 100 else 10)
    store.close()
    clock.time += timedelta(days=off_days)
    clock.is_synchronised = synchronised
    again = open_store()
    clock.pass_time(minutes=2)
    settle(again)
    assert is_kept(again, b"picture") is kept
    assert [alarm.code for alarm in alarms] == [AlarmCode.CLOCK_DOUBTED] * doubted
    if doubted:
        assert "393.0 days longer" in alarms[0].message


def test_what_is_over_makes_room_before_anything_that_is_not(
    open_store: Callable[..., Store], samples: Samples, clock: TestClock
) -> None:
    store = open_store(evidence_quota_bytes=3500)
    put(store, samples, b"i" * 1000, Verdict.OK, days=1)
    put(store, samples, b"s" * 1000, Verdict.OK)
    put(store, samples, b"o" * 1000, Verdict.NOT_OK, seconds=10)
    clock.pass_time(seconds=20)  # the next look for what is over has not come
    settle(store)
    assert is_kept(store, b"o" * 1000)
    put(store, samples, b"n" * 1000, Verdict.NOT_OK, days=1)
    settle(store)
    assert not is_kept(store, b"o" * 1000)
    assert is_kept(store, b"i" * 1000)
    # With nothing over, it is the worth again that decides.
    put(store, samples, b"m" * 1000, Verdict.NOT_DECIDABLE, days=1)
    settle(store)
    with pytest.raises(EvidenceEvicted):
        store.read_evidence(name(b"i" * 1000))
    counts = store.counts()
    assert counts.evidence_expired == {**NONE_GONE, Verdict.NOT_OK: 1}
    assert counts.evidence_evicted == {**NONE_GONE, Verdict.OK: 1}


def test_what_is_over_goes_a_few_at_a_time_and_without_a_part_coming(
    open_store: Callable[..., Store], samples: Samples, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside.daemon.store.writer.IDLE_S", 0.01)
    monkeypatch.setattr("lineside.daemon.store.writer.BACKLOG_S", 0.01)
    store = open_store()
    many = 2 * FILES_A_PASS + 10
    draft = samples.draft()
    pictures = [picture(b"%d" % number) for number in range(many)]
    store.commit(draft, pictures, keep_until=draft.decided_at + timedelta(days=1)).result(GENEROUS_S)
    passes: list[int] = []

    def mark_gone(connection: Connection, chosen: Sequence[retention.Victim]) -> None:
        passes.append(len(chosen))
        retention.mark_gone(connection, chosen)

    monkeypatch.setattr("lineside.daemon.store.expiry.mark_gone", mark_gone)
    clock.pass_time(days=2)
    wait_until(lambda: expired(store) == many)
    assert passes == [FILES_A_PASS, FILES_A_PASS, 10]
    assert store.counts().evidence_bytes == 0


def expired(store: Store) -> int:
    return sum(store.counts().evidence_expired.values())


def test_a_file_that_a_crash_left_after_its_time_is_swept_at_start(
    open_store: Callable[..., Store],
    samples: Samples,
    clock: TestClock,
    alarms: list[Alarm],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = open_store()
    put(store, samples, b"left", days=1)
    clock.pass_time(days=2)
    with monkeypatch.context() as patched:
        patched.setattr(store._files, "remove", lambda _: False)
        settle(store)
    path = store._files.path(name(b"left"))
    assert path.exists()
    assert not is_kept(store, b"left")
    store.close()
    again = open_store()
    assert not path.exists()
    assert not is_kept(again, b"left")
    assert alarms == []


def test_a_time_without_a_zone_is_refused_before_anything_is_taken(store: Store, samples: Samples) -> None:
    with pytest.raises(ValueError, match="without a zone"):
        store.commit(samples.draft(), keep_until=datetime(2026, 1, 1))
    assert store.counts().results == 0
