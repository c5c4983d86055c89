"""A power cut may leave any beginning of the write-ahead log: it opens to the last whole commit."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from store_samples import GENEROUS_S, Samples, TestClock, commits_in_log

from lineside.daemon.store import Alarm, Store
from lineside.daemon.store.records import json_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def cut(
    open_store: Callable[..., Store], samples: Samples, memory_folder: Path
) -> tuple[Path, list[int], list[str]]:
    """A store as it lies on the disk while it runs: folder, where each commit ends in the log, records.

    The log holds one commit a result, in order.
    """
    store = open_store()
    store._writer.close(GENEROUS_S)  # the writer rests, nothing is moved out of the log while it is copied
    store.close()
    store = open_store()
    log = store._file.with_name("results.sqlite-wal")
    before = len(commits_in_log(log))
    records = [json_of(store.commit(samples.draft()).result(GENEROUS_S)) for _ in range(8)]
    image = memory_folder / "image"
    shutil.copytree(store._path, image)
    ends = commits_in_log(image / "database" / "results.sqlite-wal")
    assert len(ends) == before + len(records)
    store.close()
    return image, ends[before:], records


def test_every_length_of_the_log_opens_to_the_last_whole_commit(
    cut: tuple[Path, list[int], list[str]], memory_folder: Path
) -> None:
    image, ends, records = cut
    chance = random.Random(5)
    lengths = {end + step for end in ends for step in (-1, 0, 1)} | {
        chance.randrange(ends[0], ends[-1]) for _ in range(15)
    }
    for length in sorted(lengths):
        expected = records[: sum(end <= length for end in ends)]
        assert (
            after_power_cut(image, memory_folder / str(length), lambda log, at=length: log[:at]) == expected
        ), length


def test_a_torn_sector_ends_the_log_before_it(
    cut: tuple[Path, list[int], list[str]], memory_folder: Path
) -> None:
    image, ends, records = cut
    chance = random.Random(6)
    for number in range(15):
        at = chance.randrange(ends[0], ends[-1]) // 512 * 512
        for filling in (b"\0" * 512, chance.randbytes(512)):
            folder = memory_folder / f"{number}-{filling[:1].hex()}"
            found = after_power_cut(
                image, folder, lambda log, at=at, new=filling: log[:at] + new + log[at + 512 :]
            )
            # Zeros over zeros tear nothing.
            assert found in (records[: sum(end <= at for end in ends)], records)
            assert found != records or filling == b"\0" * 512


def after_power_cut(image: Path, folder: Path, spoil: Callable[[bytes], bytes]) -> list[str]:
    """The records found in a copy of `image` whose log was spoilt; the copy then goes on working."""
    shutil.copytree(image, folder)
    log = folder / "database" / "results.sqlite-wal"
    log.write_bytes(spoil(log.read_bytes()))
    (folder / "database" / "results.sqlite-shm").unlink(missing_ok=True)
    alarms: list[Alarm] = []
    clock = TestClock(seed=9)
    with Store.open(folder, device="box-1", clock=clock, on_alarm=alarms.append) as store:
        found = [json_of(result) for result in store.since(0)]
        after = store.commit(Samples(clock).draft()).result(GENEROUS_S)
        assert after.sequence == len(found) + 1
        assert store.verify().ok
    assert alarms == []
    return found
