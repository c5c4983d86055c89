"""Three days without a network, on a clock that steps: each part is judged, kept, and goes out in order.

Time is simulated, the store is real. `LINESIDE_OFFLINE_PARTS` sets how many parts the 72 hours have (400
when it is not set; 25,920 is one every ten seconds).
"""

from __future__ import annotations

import itertools
import os
import random
import time
from datetime import timedelta
from pathlib import Path

import pytest
from store_samples import GENEROUS_S, Samples, TestClock, picture

from lineside.daemon.store import Store
from lineside.daemon.store.records import json_of
from lineside.daemon.values import Result, Verdict

PARTS = int(os.environ.get("LINESIDE_OFFLINE_PARTS", "400"))
OFFLINE = timedelta(hours=72)
STEP = timedelta(hours=1)
PAGE = 100
QUOTA_BYTES = 2_000_000


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.timeout(180 + PARTS // 20)
def test_three_days_offline_on_a_stepping_clock_lose_nothing_and_go_out_in_order(tmp_path: Path) -> None:
    clock, chance = TestClock(), random.Random(4)
    samples = Samples(clock)
    seconds: list[float] = []
    memory: list[float] = []

    def judge(store: Store) -> Result:
        draft = samples.draft(verdict=chance.choice(list(Verdict)))
        store.accept(draft.intake)
        began = time.monotonic()
        result = store.commit(draft, [picture(chance.randbytes(4000))]).result(GENEROUS_S)
        seconds.append(time.monotonic() - began)
        return result

    results: list[Result] = []
    with Store.open(tmp_path, device="box", clock=clock, evidence_quota_bytes=QUOTA_BYTES) as store:
        for number in range(PARTS):
            clock.pass_time(seconds=OFFLINE.total_seconds() / PARTS)
            if number % (PARTS // 12) == 0:
                # An hour either way, with and without a time service: the wall clock alone moves.
                clock.time += chance.choice([STEP, -STEP])
                clock.is_synchronised = chance.random() < 0.5
            results.append(judge(store))
            if number % max(1, PARTS // 20) == 0:
                memory.append(resident_mb())
        assert store.depth("mqtt") == PARTS
        assert store.counts().evidence_bytes <= QUOTA_BYTES
        decided = [result.draft.decided_at for result in results]
        assert any(later < earlier for earlier, later in itertools.pairwise(decided)), "it did step"

    # The power goes as well; the network comes back, and parts go on coming while the outbox empties.
    sent: list[Result] = []
    with Store.open(tmp_path, device="box", clock=clock, evidence_quota_bytes=QUOTA_BYTES) as store:
        while page := store.pending("mqtt", PAGE):
            sent.extend(page)
            store.acknowledge("mqtt", [one.sequence for one in page]).result(GENEROUS_S)
            if len(sent) <= PARTS:
                results.append(judge(store))
        assert store.verify().ok
        assert store.oldest_unsent_age("mqtt") is None

    assert [json_of(one) for one in sent] == [json_of(one) for one in results], (
        "each once, in order, unchanged"
    )
    assert [one.sequence for one in sent] == list(range(1, len(sent) + 1))
    quarter = PARTS // 4
    first, last = (
        sorted(part)[quarter // 2] for part in (seconds[:quarter], seconds[PARTS - quarter : PARTS])
    )
    print(
        f"{PARTS} parts in 72 h offline, {len(sent)} sent in order; commit p50 {first * 1e3:.1f} ms in the "
        f"first quarter, {last * 1e3:.1f} ms in the last; memory {memory[1]:.0f} to {memory[-1]:.0f} MB"
    )
    # What the test itself keeps of each result is about 5 KB.
    assert memory[-1] - memory[1] < 20 + PARTS * 0.012
