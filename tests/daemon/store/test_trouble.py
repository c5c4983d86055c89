"""While the database cannot be written nothing is lost, everybody can see it, and it goes on by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event
from store_samples import GENEROUS_S, Samples, picture

from lineside.daemon.store import Alarm, AlarmCode, Store, StoreBusy, StoreClosed, StoreInUse, changes
from lineside.daemon.store.writer import QUEUE_SIZE


class FullDatabase:
    """Makes SQLite itself say "database or disk is full", by its own page limit."""

    def __init__(self, store: Store) -> None:
        self._on = False
        event.listen(store._engine, "connect", self._limit)
        event.listen(store._engine, "checkout", lambda connection, *_: self._limit(connection))

    def _limit(self, connection: object, *_: object) -> None:
        limit = 1 if self._on else 1_073_741_823
        connection.execute(f"PRAGMA max_page_count = {limit}")  # type: ignore[attr-defined]

    def fill(self) -> None:
        self._on = True

    def empty(self) -> None:
        self._on = False


def big(samples: Samples) -> object:
    """A verdict that needs new pages."""
    return samples.draft(samples.intake(expected={"note": os.urandom(8000).hex()}))


def test_results_wait_in_order_while_the_database_is_full_and_are_told_of(
    store: Store, samples: Samples, alarms: list[Alarm]
) -> None:
    raised = threading.Event()
    tell = store._tell
    assert tell is not None
    store._tell = lambda alarm: (tell(alarm), raised.set())[0]
    disk = FullDatabase(store)
    assert store.commit(big(samples)).result(GENEROUS_S).sequence == 1

    disk.fill()
    drafts = [big(samples) for _ in range(5)]
    futures = [store.commit(draft) for draft in drafts]
    assert raised.wait(GENEROUS_S)
    health = store.healthy()
    assert (health.ok, health.reason, health.pending_writes) == (False, "database or disk is full", 5)
    assert health.since is not None
    assert not any(future.done() for future in futures)
    assert store.last_sequence() == 1
    assert store.since(0)[0].sequence == 1

    disk.empty()
    results = [future.result(GENEROUS_S) for future in futures]
    assert [result.draft for result in results] == drafts
    assert [result.sequence for result in results] == [2, 3, 4, 5, 6]
    assert store.healthy().ok
    assert [alarm.code for alarm in alarms] == [AlarmCode.DATABASE_FAILING, AlarmCode.DATABASE_RECOVERED]
    assert store.verify().ok


def test_closing_while_the_disk_is_full_tells_the_callers_and_loses_no_accepted_part(
    open_store: Callable[..., Store], samples: Samples
) -> None:
    store = open_store()
    intake = samples.intake(expected={"note": os.urandom(8000).hex()})
    store.accept(intake).result(GENEROUS_S)
    FullDatabase(store).fill()
    future = store.commit(samples.draft(intake))
    store.close(timeout_s=0.3)
    with pytest.raises(StoreClosed, match="full"):
        future.result(0)
    again = open_store()
    assert [result.result_id for result in again.recover("boot-a")] == [intake.result_id]
    assert again.verify().ok


def test_closing_does_not_wait_for_a_disk_that_never_answers(
    open_store: Callable[..., Store],
    samples: Samples,
    alarms: list[Alarm],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lineside.daemon.store.writer.LAST_CALL_S", 0.1)
    store = open_store()
    answer, asked = threading.Event(), threading.Event()
    fsync = os.fsync

    def hang(descriptor: int) -> None:
        asked.set()
        assert answer.wait(GENEROUS_S)
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr("lineside.daemon.store.durable.os.fsync", hang)
        in_hand = store.commit(samples.draft(), [picture(b"seen")])
        assert asked.wait(GENEROUS_S)
        waiting = store.commit(samples.draft())
        store.close(timeout_s=0.1)

        # Everybody is told, and nobody may work beside a call that may still come back.
        for future in (in_hand, waiting):
            with pytest.raises(StoreClosed, match="has not answered"):
                future.result(0)
        assert alarms[-1].code is AlarmCode.DATABASE_FAILING
        with pytest.raises(StoreInUse):
            open_store()
        answer.set()
        store._writer._thread.join(GENEROUS_S)
        assert not store._writer._thread.is_alive()

    # It came back: what was in hand is there, once; what only waited is not.
    store.close()
    again = open_store()
    assert [result.sequence for result in again.since(0)] == [1]
    assert again.read_evidence(again.since(0)[0].evidence[0].evidence_id) == b"seen"
    assert again.verify().ok


def test_a_commit_whose_outcome_was_unknown_is_not_doubled(
    store: Store, samples: Samples, alarms: list[Alarm]
) -> None:
    """The disk took the transaction, and then reported an error: the repetition finds the row."""
    broken = threading.Event()

    def fail_after_commit(connection: object) -> None:
        if not broken.is_set():
            broken.set()
            connection.connection.driver_connection.commit()  # type: ignore[attr-defined]
            raise OSError(5, "Input/output error")

    event.listen(store._engine, "commit", fail_after_commit)
    result = store.commit(samples.draft(), [picture(b"seen")]).result(GENEROUS_S)
    assert broken.is_set()
    assert result.sequence == 1
    assert [stored.sequence for stored in store.since(0)] == [1]
    assert store.counts().results == 1
    assert store.counts().evidence_bytes == 4
    assert alarms[-1].code is AlarmCode.DATABASE_RECOVERED
    assert store.commit(samples.draft()).result(GENEROUS_S).sequence == 2
    assert store.verify().ok


ON_A_SMALL_DISK = """
    import os, sys
    from pathlib import Path
    from store_samples import Samples, TestClock, picture, GENEROUS_S
    from lineside.daemon.store import AlarmCode, Store
    from lineside.daemon.values import Verdict

    clock, alarms = TestClock(), []
    samples = Samples(clock)
    disk = Path(sys.argv[1])
    with Store.open(disk / "store", device="box", clock=clock, on_alarm=alarms.append) as store:
        for number in range(300):
            verdict = Verdict.NOT_OK if number % 10 == 0 else Verdict.OK
            draft = samples.draft(verdict=verdict)
            store.accept(draft.intake)
            result = store.commit(draft, [picture(os.urandom(40_000))]).result(GENEROUS_S)
            assert result.sequence == number + 1
        counts = store.counts()
        assert counts.results == 300, counts
        assert counts.evidence_evicted[Verdict.OK] > 50, counts
        assert counts.evidence_evicted[Verdict.NOT_OK] == 0, counts
        for result in store.since(0, 1000):
            if result.verdict is Verdict.NOT_OK:
                assert not result.evidence_lost
                assert len(store.read_evidence(result.evidence[0].evidence_id)) == 40_000
        assert store.verify().ok
        assert store.healthy().ok
        print("lost pictures:", sum(result.evidence_lost for result in store.since(0, 1000)))

        # Somebody else fills the rest: no room can be made once all pictures are gone.
        filler = (disk / "filler").open("wb", buffering=0)
        futures = []
        while store.healthy().ok:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
            intake = samples.intake(expected={"note": os.urandom(2000).hex()})
            futures.append(store.commit(samples.draft(intake)))
            store.healthy()
            import time; time.sleep(0.01)
        (disk / "filler").unlink()
        filler.close()
        sequences = [future.result(GENEROUS_S).sequence for future in futures]
        assert sequences == list(range(301, 301 + len(sequences))), sequences
        assert store.verify().ok
        codes = {alarm.code for alarm in alarms}
        assert {AlarmCode.DATABASE_FAILING, AlarmCode.DATABASE_RECOVERED} <= codes, codes
    print("held:", len(sequences))
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full_costs_old_pictures_of_good_parts_and_nothing_else(tmp_path: Path) -> None:
    mounted = tmp_path / "disk"
    mounted.mkdir()
    script = (
        f"mount -t tmpfs -o size=14m tmpfs {mounted} && "
        f'exec {sys.executable} -W error -c "$PROGRAM" {mounted}'
    )
    program = textwrap.dedent(ON_A_SMALL_DISK)
    environment = {**os.environ, "PROGRAM": program, "PYTHONPATH": str(Path(__file__).parent)}
    probe = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("this machine gives no user namespaces, so no small disk can be mounted")
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "held:" in done.stdout


def test_a_disk_that_stays_full_refuses_at_once_and_says_how_many_parts_it_cost(
    store: Store, samples: Samples, alarms: list[Alarm]
) -> None:
    disk = FullDatabase(store)
    disk.fill()
    taken = [store.commit(big(samples)) for _ in range(QUEUE_SIZE)]
    until_stuck = 0.0
    refused = 0
    while refused < 20:
        began = time.monotonic()
        try:
            taken.append(store.accept(samples.intake()))
        except StoreBusy:
            refused += 1
            until_stuck = max(until_stuck, time.monotonic() - began) if refused > 1 else 0.0
    assert until_stuck < 5, "who has parts on a line is not kept waiting for each of them"
    assert AlarmCode.PARTS_REFUSED in {alarm.code for alarm in alarms}, "told while nothing can be written"

    disk.empty()
    for future in taken:
        future.result(GENEROUS_S)
    store.acknowledge("mqtt", []).result(GENEROUS_S)
    store.acknowledge("mqtt", []).result(GENEROUS_S)
    rows = store.read(lambda connection: changes.page(connection, 0, 10))
    assert [(row.change.method, row.change.outcome) for row in rows] == [
        ("PARTS_REFUSED", "refused 20; 20 in all")
    ]
    assert store.verify().ok
