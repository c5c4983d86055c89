"""The soak's own machinery, on a short run: what it reports is there. Slopes need hours: see `soak.py`."""

from __future__ import annotations

import pytest
from soak import Sample, broken, slope_mb_an_hour, soak


@pytest.mark.broker
@pytest.mark.slow
def test_a_short_soak_hears_every_result_and_measures_both_processes() -> None:
    found = soak(8.0, 0.5)

    assert found["results"] > 5  # type: ignore[operator]
    assert (found["gaps"], found["engine_restarted"]) == (False, False)
    assert set(found["memory_mb"]) == {"daemon", "engine"}  # type: ignore[call-overload]


def test_what_grows_is_found() -> None:
    leaking = [Sample(60.0 * minute, 100 + minute / 30, 20) for minute in range(120)]
    steady = [Sample(60.0 * minute, 100 + minute % 2, 20) for minute in range(120)]
    assert slope_mb_an_hour(leaking) == pytest.approx(2.0)
    assert abs(slope_mb_an_hour(steady)) < 0.1

    sound = {
        "gaps": False,
        "engine_restarted": False,
        "memory_mb_an_hour": {"daemon": 0.4},
        "files": {"daemon": [20, 21]},
        "p99_ms": [80.0, 85.0],
    }
    assert broken(sound) == []
    assert broken({**sound, "gaps": True}) == ["gaps"]
    assert broken({**sound, "memory_mb_an_hour": {"engine": 3.0}}) == ["memory of engine grows"]
    assert broken({**sound, "files": {"daemon": [20, 90]}}) == ["open files of daemon grow"]
    assert broken({**sound, "p99_ms": [80.0, 200.0]}) == ["p99 grows"]
