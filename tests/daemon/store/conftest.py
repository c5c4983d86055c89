"""Real stores in temporary folders, and the samples that the tests of this folder share."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for store_samples, which the crash child uses as well

from store_samples import Samples, TestClock

from lineside.daemon.store import Alarm, Store


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder in memory where there is one, else on the disk.

    For killed processes and copied images: the kernel outlives both, so the disk proves nothing more.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="lineside-store-", dir=memory if os.access(memory, os.W_OK) else None
    ) as folder:
        yield Path(folder)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def samples(clock: TestClock) -> Samples:
    return Samples(clock)


@pytest.fixture
def alarms() -> list[Alarm]:
    return []


@pytest.fixture
def open_store(tmp_path: Path, clock: TestClock, alarms: list[Alarm]) -> Iterator[Callable[..., Store]]:
    """Opens the store in tmp_path / "store"; what is still open at the end is closed."""
    opened: list[Store] = []

    def opening(path: Path | None = None, **settings: object) -> Store:
        folder = path or tmp_path / "store"
        store = Store.open(folder, device="box-1", clock=clock, on_alarm=alarms.append, **settings)
        opened.append(store)
        return store

    yield opening
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    return open_store()
