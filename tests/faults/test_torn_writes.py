"""A process that dies inside a write leaves a beginning of it: the store opens to the last whole commit.

`LINESIDE_TORN_WRITES` sets how many times (8 when it is not set).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from failing_disk import FailingDisk
from test_kill import Promises, check

TIMES = int(os.environ.get("LINESIDE_TORN_WRITES", "8"))
LIVES_A_FOLDER = 4
MOST_WRITES = 250
"""A life writes about three times a part; the first forty or so create the database."""


@pytest.mark.slow
@pytest.mark.timeout(120 + 5 * TIMES)
def test_a_write_that_is_torn_anywhere_costs_nothing_that_was_promised(
    tmp_path: Path, failing_disk: Callable[[Path], FailingDisk]
) -> None:
    child = Path(__file__).with_name("torn_child.py")
    searched = os.pathsep.join(
        str(Path(__file__).parents[1] / folder) for folder in ("daemon/store", "faults")
    )
    environment = failing_disk(tmp_path / "disk").environment(PYTHONPATH=searched)
    promised = 0
    with subprocess.Popen(
        [sys.executable, str(child)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        assert nursery.stdout.readline() == "READY\n"
        folder, promises = tmp_path, Promises()
        for number in range(TIMES):
            if number % LIVES_A_FOLDER == 0:
                folder, promises = tmp_path / "disk" / str(number), Promises()
                folder.parent.mkdir(exist_ok=True)
            at = random.Random(number).randint(1, MOST_WRITES)
            print(folder, number, at, file=nursery.stdin, flush=True)
            for line in nursery.stdout:
                if line.startswith("DEAD"):
                    assert int(line.split()[1]) == -signal.SIGKILL, "it ended by itself: see its traceback"
                    break
                if not line.startswith("PID"):
                    promises.hear(line)
            check(folder, promises)
            promised += len(promises.results)
        nursery.stdin.close()
    print(f"{TIMES} torn writes; every promise kept, the last folder's: {len(promises.results)} results")
    assert promised > TIMES, "the lives did get to work"
