"""Real processes whose disk fails on demand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

for _folder in ("faults", "chain", "daemon/store", "daemon/inspection"):
    # For chain_plant, store_samples, inspection_doubles, and what lies here.
    sys.path.insert(0, str(Path(__file__).parents[1] / _folder))

from failing_disk import FailingDisk, build  # noqa: E402 - found by the path set above


@pytest.fixture(scope="session")
def failing_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = build(tmp_path_factory.mktemp("failing-disk"))
    if library is None:
        pytest.skip("no C compiler here: disks that fail under a real process were not tried")
    return library


@pytest.fixture
def failing_disk(failing_library: Path, tmp_path: Path) -> Callable[[Path], FailingDisk]:
    return lambda folder: FailingDisk(failing_library, folder, tmp_path / "fault")
