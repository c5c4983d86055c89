"""Killed with SIGKILL at random moments, again and again: what was acknowledged is there, exactly once.

`LINESIDE_KILLS` sets how many times (60 when it is not set), `LINESIDE_KILL_SEED` the moments.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select
from store_crash_child import QUOTA_BYTES
from store_samples import TestClock

from lineside.daemon.store import Store, retention, schema
from lineside.daemon.store.canonical import sha256_hex
from lineside.daemon.store.records import json_of

KILLS = int(os.environ.get("LINESIDE_KILLS", "60"))
SEED = int(os.environ.get("LINESIDE_KILL_SEED", "1"))
LIVES_A_FOLDER = 12
CHECK_EVERY = 3
"""Between checks, lives start on what the killed one left, with nobody mending it for them."""
LONGEST_START_S = 0.2
LONGEST_STEP_S = 0.02
MOST_PROMISES = 60


@dataclass
class Promises:
    """What the lives on one folder have been told by the store."""

    intakes: set[str] = field(default_factory=set)
    results: dict[str, str] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)
    numbers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def hear(self, line: str) -> None:
        kind, *words = line.split()
        if kind == "INTAKE":
            self.intakes.add(words[0])
        elif kind == "RESULT":
            result_id, digest = words
            assert self.results.setdefault(result_id, digest) == digest, "two different results of one part"
        elif kind == "ACK":
            self.acknowledged.add(int(words[0]))
        elif kind == "NUMBERS":
            name, first, last = words
            self.numbers.update((name, number) for number in range(int(first), int(last) + 1))
        else:
            raise AssertionError(f"not a promise: {line}")


@pytest.fixture
def nursery() -> Iterator[subprocess.Popen[str]]:
    """The process whose forks are killed."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("store_crash_child.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "READY\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.timeout(60 + 5 * KILLS)
def test_killed_at_any_moment_it_keeps_every_promise(
    nursery: subprocess.Popen[str], memory_folder: Path
) -> None:
    totals: Counter[str] = Counter()
    folder, promises = memory_folder / "0", Promises()
    for kill in range(KILLS):
        if kill % LIVES_A_FOLDER == 0:
            folder, promises = memory_folder / str(kill), Promises()
        live_and_die(nursery, folder, kill, promises)
        is_last = kill + 1 == KILLS or (kill + 1) % LIVES_A_FOLDER == 0
        if is_last or kill % CHECK_EVERY == 0:
            check(folder, promises)
        if is_last:
            totals.update(
                intakes=len(promises.intakes),
                results=len(promises.results),
                acknowledged=len(promises.acknowledged),
            )
    print(f"{KILLS} kills; promised and kept: {dict(totals)}")
    # The lives did get to work: a test in which nothing was ever promised would prove nothing.
    assert totals["results"] > KILLS
    assert totals["acknowledged"] > 0


def live_and_die(nursery: subprocess.Popen[str], folder: Path, seed: int, promises: Promises) -> None:
    """One life: killed while it starts (every fourth), or shortly after some number of promises.

    Counting promises, and not only time, lets a slow machine kill at the same places as a fast one.
    """
    chance = random.Random(f"{SEED} {seed}")
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    print(folder, seed, file=nursery.stdin, flush=True)
    pid = int(nursery.stdout.readline().removeprefix("PID "))
    at_start = seed % 4 == 0
    killer = threading.Timer(
        chance.uniform(0, LONGEST_START_S if at_start else LONGEST_STEP_S), kill_quietly, [pid]
    )
    if at_start:
        killer.start()
    patience = chance.randint(1, MOST_PROMISES)
    for heard, line in enumerate(nursery.stdout, 1):
        if line.startswith("DEAD"):
            assert int(line.split()[1]) == -signal.SIGKILL, "the life ended by itself: see its traceback"
            break
        promises.hear(line)
        if killer.ident is None and heard >= patience:
            killer.start()
    killer.join()


def kill_quietly(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def check(folder: Path, promises: Promises) -> None:
    """Opens what the kill left behind, closes what was open, and compares with the promises."""
    with Store.open(folder, device="box-1", clock=TestClock(), evidence_quota_bytes=QUOTA_BYTES) as store:
        for result in store.recover("boot"):
            promises.results[result.result_id] = sha256_hex(json_of(result))
        stored = {result.result_id: result for result in store.since(0, 10**6)}
        assert [r.sequence for r in stored.values()] == list(range(1, len(stored) + 1)), "gaps"
        assert promises.intakes <= stored.keys(), "an accepted part has no verdict"
        for result_id, digest in promises.results.items():
            assert sha256_hex(json_of(stored[result_id])) == digest, "a result is gone or changed"
        pending = {result.sequence for result in store.pending("mqtt", 10**6)}
        assert not pending & promises.acknowledged, "an acknowledgement is gone"
        assert len(pending) == store.depth("mqtt")
        assert not [number for number, given in promises.numbers.items() if given > 1], (
            "a number was given twice"
        )
        found = store.verify()
        assert found.ok, found
        counts = store.counts()
        assert (counts.results, counts.open_intakes) == (len(stored), 0)
        check_evidence(store, folder, counts.evidence_bytes)
    with closing(sqlite3.connect(folder / "database" / "results.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert not list(folder.glob("*.damaged-*")), "a sound database was set aside"


def check_evidence(store: Store, folder: Path, kept_bytes: int) -> None:
    """Every file that a row says is kept is whole; no other file is there."""
    with store._readers.begin() as connection:
        files = schema.evidence_files.c
        rows = connection.execute(select(files.evidence_id, files.state))
        states = {row.evidence_id: row.state for row in rows}
    assert retention.MISSING not in states.values(), "a row named a file that was not there"
    kept = {evidence_id for evidence_id, state in states.items() if state == retention.KEPT}
    present = {path.name: path.read_bytes() for path in (folder / "evidence").rglob("*") if path.is_file()}
    assert present.keys() == kept
    assert all(hashlib.sha256(data).hexdigest() == name for name, data in present.items())
    assert sum(map(len, present.values())) == kept_bytes
