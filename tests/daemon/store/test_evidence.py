"""A named picture is whole; a disk that refuses pictures costs no verdict; the quota holds."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from store_samples import GENEROUS_S, Samples, TestClock, picture

from lineside.daemon.store import (
    Alarm,
    AlarmCode,
    EvidenceDamaged,
    EvidenceEvicted,
    EvidenceUnavailable,
    Store,
    changes,
)
from lineside.daemon.values import Result, Verdict


def put(store: Store, samples: Samples, verdict: Verdict, *pictures: bytes) -> Result:
    draft = samples.draft(verdict=verdict)
    return store.commit(draft, [picture(data) for data in pictures]).result(GENEROUS_S)


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "evidence").rglob("*") if path.is_file()}


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_picture_lies_under_its_own_hash(store: Store, samples: Samples, tmp_path: Path) -> None:
    result = put(store, samples, Verdict.OK, b"a picture")
    assert result.evidence[0].evidence_id == name(b"a picture")
    path = tmp_path / "store" / "evidence" / name(b"a picture")[:2] / name(b"a picture")
    assert path.read_bytes() == b"a picture"


def test_a_torn_or_altered_picture_is_never_served(store: Store, samples: Samples, tmp_path: Path) -> None:
    result = put(store, samples, Verdict.OK, b"a picture")
    evidence_id = result.evidence[0].evidence_id
    path = tmp_path / "store" / "evidence" / evidence_id[:2] / evidence_id
    for spoilt in (b"a pictur", b"a picturf", b""):
        path.write_bytes(spoilt)
        with pytest.raises(EvidenceDamaged, match="no longer has the bytes"):
            store.read_evidence(evidence_id)
    path.unlink()
    with pytest.raises(EvidenceDamaged, match="cannot be read"):
        store.read_evidence(evidence_id)
    # The same picture again mends it.
    put(store, samples, Verdict.OK, b"a picture")
    assert store.read_evidence(evidence_id) == b"a picture"


def test_only_evidence_ids_reach_the_disk(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    for name_ in ("../../secret", "A" * 64, "", "0" * 63 + "/"):
        with pytest.raises(ValueError, match="64 lower-case hex digits"):
            store.read_evidence(name_)
    with pytest.raises(EvidenceUnavailable, match="no result names"):
        store.read_evidence("0" * 64)


def test_what_a_crash_left_half_done_is_swept_at_start(
    open_store: Callable[..., Store], samples: Samples, tmp_path: Path, alarms: list[Alarm]
) -> None:
    store = open_store()
    kept = put(store, samples, Verdict.OK, b"named")
    store.close()
    folder = tmp_path / "store" / "evidence" / "ab"
    folder.mkdir()
    (folder / ("ab" + "0" * 62)).write_bytes(b"complete, but its row never came")
    (folder / ("ab" + "1" * 62 + ".part")).write_bytes(b"half")
    again = open_store()
    assert files(tmp_path / "store") == {name(b"named")}
    assert again.read_evidence(kept.evidence[0].evidence_id) == b"named"
    assert again.counts().evidence_bytes == len(b"named")
    assert alarms == []


def test_a_picture_that_vanished_is_told_of_at_start(
    open_store: Callable[..., Store], samples: Samples, tmp_path: Path, alarms: list[Alarm]
) -> None:
    store = open_store()
    put(store, samples, Verdict.OK, b"one", b"two")
    store.close()
    (tmp_path / "store" / "evidence" / name(b"one")[:2] / name(b"one")).unlink()
    again = open_store()
    assert [alarm.code for alarm in alarms] == [AlarmCode.EVIDENCE_MISSING]
    assert "1 evidence files" in alarms[0].message
    assert again.counts().evidence_bytes == 3
    with pytest.raises(EvidenceDamaged):
        again.read_evidence(name(b"one"))
    again.close()
    open_store()
    assert len(alarms) == 1


def test_the_oldest_of_the_least_worth_goes_first(
    open_store: Callable[..., Store], samples: Samples, tmp_path: Path
) -> None:
    store = open_store(evidence_quota_bytes=6900)
    order = [
        (Verdict.NOT_OK, b"n"),
        (Verdict.OK, b"a"),
        (Verdict.NOT_DECIDABLE, b"u"),
        (Verdict.OK, b"b"),
        (Verdict.OK, b"c"),
        (Verdict.NOT_OK, b"m"),
    ]
    for verdict, byte in order:
        put(store, samples, verdict, byte * 1000)
    settle(store)
    gone: list[bytes] = []
    for step in range(6):
        put(store, samples, Verdict.NOT_OK, b"%d" % step * 1000)
        settle(store)
        present = files(tmp_path / "store")
        gone += [b for _, b in order if name(b * 1000) not in present and b not in gone]
        assert store.counts().evidence_bytes <= 6900
        assert len(present) * 1000 == store.counts().evidence_bytes
    assert gone == [b"a", b"b", b"c", b"u", b"n", b"m"]
    counts = store.counts()
    assert counts.evidence_evicted == {Verdict.OK: 3, Verdict.NOT_DECIDABLE: 1, Verdict.NOT_OK: 2}
    assert counts.results == 12
    with pytest.raises(EvidenceEvicted, match="removed to make room"):
        store.read_evidence(name(b"a" * 1000))
    # The record still says what there was: verdict rows never change.
    assert store.verify().ok


def test_a_picture_that_a_bad_part_shares_is_kept_for_the_bad_part(
    open_store: Callable[..., Store], samples: Samples
) -> None:
    store = open_store(evidence_quota_bytes=2500)
    put(store, samples, Verdict.NOT_OK, b"s" * 1000)
    put(store, samples, Verdict.OK, b"s" * 1000)
    put(store, samples, Verdict.OK, b"o" * 1000)
    assert store.counts().evidence_bytes == 2000
    put(store, samples, Verdict.OK, b"p" * 1000)
    settle(store)
    assert store.read_evidence(name(b"s" * 1000))
    with pytest.raises(EvidenceEvicted):
        store.read_evidence(name(b"o" * 1000))


def test_a_quota_smaller_than_one_part_keeps_the_verdicts(
    open_store: Callable[..., Store], samples: Samples, tmp_path: Path
) -> None:
    store = open_store(evidence_quota_bytes=10)
    for _ in range(3):
        assert not put(store, samples, Verdict.NOT_OK, b"x" * 100).evidence_lost
        settle(store)
    assert files(tmp_path / "store") == set()
    assert store.counts().results == 3


def test_pictures_that_the_disk_refuses_cost_no_verdict(
    open_store: Callable[..., Store], samples: Samples, tmp_path: Path, alarms: list[Alarm]
) -> None:
    store = open_store()
    # A real refusal, for root as well: the folders are not there.
    (tmp_path / "store" / "evidence").rename(tmp_path / "elsewhere")
    result = put(store, samples, Verdict.NOT_OK, b"lost")
    assert (result.verdict, result.evidence, result.evidence_lost) == (Verdict.NOT_OK, (), True)
    assert [(alarm.code, alarm.result_id) for alarm in alarms] == [
        (AlarmCode.EVIDENCE_LOST, result.result_id)
    ]
    assert store.healthy().ok
    (tmp_path / "elsewhere").rename(tmp_path / "store" / "evidence")
    assert not put(store, samples, Verdict.OK, b"kept").evidence_lost
    assert [stored.evidence_lost for stored in store.since(0)] == [True, False]
    assert store.verify().ok


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_whatever_call_fails_the_verdict_stands_and_nothing_half_written_is_named(
    store: Store,
    samples: Samples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    call: str,
) -> None:
    put(store, samples, Verdict.OK, b"before")
    with monkeypatch.context() as patched:
        patched.setattr(f"lineside.daemon.store.durable.os.{call}", refuse_for("evidence", call, number))
        result = put(store, samples, Verdict.NOT_OK, b"lost")
    assert result.evidence_lost
    assert result.evidence == ()
    after = put(store, samples, Verdict.OK, b"after")
    settle(store)
    assert not after.evidence_lost
    # On a full disk the picture of the OK part made room; it is marked, not missing.
    expected = {name(b"after")} if number == errno.ENOSPC else {name(b"before"), name(b"after")}
    assert files(tmp_path / "store") == expected
    assert store.counts().evidence_evicted[Verdict.OK] == (1 if number == errno.ENOSPC else 0)


def test_one_refused_picture_leaves_the_others_of_its_result(
    store: Store, samples: Samples, tmp_path: Path
) -> None:
    one, other = b"picture one", b"picture two"
    folder = tmp_path / "store" / "evidence" / name(one)[:2]
    folder.write_text("in the way")
    result = put(store, samples, Verdict.NOT_OK, one, other)
    assert result.evidence_lost
    assert [ref.evidence_id for ref in result.evidence] == [name(other)]


def settle(store: Store) -> None:
    """Housekeeping comes after a batch: once a later write is through, it is done."""
    store.set_state("settled", "").result(GENEROUS_S)
    store.set_state("settled", "").result(GENEROUS_S)


def refuse_for(part_of_path: str, call: str, number: int) -> Callable[..., object]:
    """An os call that fails for files under a folder of this name, and works for all others."""
    real = getattr(os, call)

    def refusing(first: object, *rest: object) -> object:
        path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else first
        if f"/{part_of_path}/" in str(path):
            raise OSError(number, os.strerror(number))
        return real(first, *rest)

    return refusing


def test_what_goes_to_make_room_is_told_at_once_then_once_an_hour_and_stands_among_the_changes(
    open_store: Callable[..., Store], samples: Samples, clock: TestClock, alarms: list[Alarm]
) -> None:
    store = open_store(evidence_quota_bytes=1_000)

    def judge(count: int) -> None:
        for number in range(count):
            store.commit(samples.draft(), [picture(bytes([number]) * 400 + clock.new_id().encode())]).result(
                GENEROUS_S
            )
        store.acknowledge("mqtt", []).result(GENEROUS_S)  # the writer has tidied up after the last part

    def told() -> list[str]:
        return [alarm.message for alarm in alarms if alarm.code is AlarmCode.EVIDENCE_EVICTED]

    def evicted() -> int:
        return store.counts().evidence_evicted[Verdict.OK]

    judge(5)
    first = evicted()
    assert first > 0
    assert len(told()) == 1, "the first picture that goes is told of"
    judge(5)
    assert len(told()) == 1, "and no alarm for each"
    clock.pass_time(hours=2)
    judge(5)
    assert len(told()) == 2

    rows = store.read(lambda connection: changes.page(connection, 0, 100))
    assert [row.change.identity for row in rows] == ["device", "device"]
    assert rows[-1].change.outcome.endswith("in all")
    store.close()
    again = open_store()  # what was not told before the end is told at the next start
    again.acknowledge("mqtt", []).result(GENEROUS_S)
    again.acknowledge("mqtt", []).result(GENEROUS_S)
    rows = again.read(lambda connection: changes.page(connection, 0, 100))
    counted = sum(int(row.change.outcome.split("OK ")[1].split(";")[0]) for row in rows)
    assert counted == again.counts().evidence_evicted[Verdict.OK]
    assert again.read(changes.verify) is None
