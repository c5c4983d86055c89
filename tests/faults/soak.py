"""Runs the real daemon for as long as it is told to, over a line that plays for ever, and watches what grows.

    python tests/faults/soak.py --minutes 120

A real broker, the real daemon with its engine process, both ways out heard. Its last line is a JSON object:
memory slope of both processes in MB an hour, open files at the beginning and the end, p99 of camera to
verdict in the first and the last quarter, and whether every stored result was heard. It ends with status 1
when a promise of `LIMITS` is broken, which is asked only of runs of `LONG_MINUTES` and more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "chain"))  # for chain_plant

from chain_plant import Plant, until
from ruamel.yaml import YAML

from lineside.daemon.demo.video import draw_line

LONG_MINUTES = 60.0
WARM_UP_SHARE = 0.2
"""Of the samples, at the beginning: caches fill, the allocator settles. Not part of the slope."""
LIMITS = {"memory_mb_an_hour": 1.0, "more_files": 5, "p99_growth": 1.5}


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process."""

    at_s: float
    resident_mb: float
    files: int


def look(pid: int, began_s: float) -> Sample:
    """Resident memory and open files of a process now. Raises OSError when it is gone."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Sample(
        time.monotonic() - began_s,
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
    )


def slope_mb_an_hour(samples: list[Sample]) -> float:
    """The least-squares slope of memory after warming up."""
    settled = samples[int(len(samples) * WARM_UP_SHARE) :]
    line = statistics.linear_regression(
        [one.at_s / 3600 for one in settled], [one.resident_mb for one in settled]
    )
    return float(line.slope)


def p99(records: list[Mapping[str, object]]) -> float:
    """The 99th percentile of camera to verdict, milliseconds."""
    times = sorted(float(record["timings_ms"]["camera_to_verdict"]) for record in records)  # type: ignore[index]
    return times[min(len(times) - 1, int(0.99 * len(times)))]


def play_for_ever(plant: Plant) -> None:
    """The line's video again and again, in real time."""
    yaml = YAML()
    settings = yaml.load(plant.settings)
    settings["cameras"][0]["loop"] = True
    with plant.settings.open("w") as file:
        yaml.dump(settings, file)


def soak(seconds: float, every_s: float) -> dict[str, object]:
    """Runs it; gives what the docstring above says."""
    with tempfile.TemporaryDirectory(prefix="lineside-soak-") as name:
        folder = Path(name)
        plant = Plant(folder, draw_line(folder, parts=24, seed=5, good_share=0.6), realtime=True)
        play_for_ever(plant)
        plant.start_broker()
        try:
            plant.on_broker.__enter__()
            assert plant.on_broker.wait_until_listening(60)
            plant.on_grpc.__enter__()
            plant.start_daemon()
            until(lambda: plant.on_broker.received >= 5, "the first verdicts")
            return watch(plant, seconds, every_s)
        finally:
            plant.on_broker.__exit__(None, None, None)
            plant.on_grpc.__exit__(None, None, None)
            plant.close()


def watch(plant: Plant, seconds: float, every_s: float) -> dict[str, object]:
    """Samples the running plant, stops it, and sums up."""
    began_s = time.monotonic()
    daemon, engine = plant.daemon_pid(), plant.engine_pid()
    assert engine is not None
    seen: dict[str, list[Sample]] = {"daemon": [], "engine": []}
    while time.monotonic() - began_s < seconds:
        seen["daemon"].append(look(daemon, began_s))
        seen["engine"].append(look(engine, began_s))
        time.sleep(every_s)
    same_engine = plant.engine_pid() == engine
    assert plant.stop_daemon() == 0, plant.log()[-2000:]
    heard = list(plant.records)
    quarter = max(1, len(heard) // 4)
    return {
        "minutes": round(seconds / 60, 2),
        "results": len(heard),
        "gaps": sorted(int(str(one["sequence"])) for one in heard) != list(range(1, len(heard) + 1)),
        "engine_restarted": not same_engine,
        "memory_mb_an_hour": {name: round(slope_mb_an_hour(samples), 2) for name, samples in seen.items()},
        "memory_mb": {
            name: [round(samples[0].resident_mb, 1), round(samples[-1].resident_mb, 1)]
            for name, samples in seen.items()
        },
        "files": {name: [samples[0].files, samples[-1].files] for name, samples in seen.items()},
        "p99_ms": [round(p99(heard[:quarter]), 1), round(p99(heard[-quarter:]), 1)],
    }


def broken(found: dict[str, object]) -> list[str]:
    """Which promises a long run broke."""
    faults = [name for name in ("gaps", "engine_restarted") if found[name]]
    for name, slope in found["memory_mb_an_hour"].items():  # type: ignore[attr-defined]
        if slope > LIMITS["memory_mb_an_hour"]:
            faults.append(f"memory of {name} grows")
    for name, (first, last) in found["files"].items():  # type: ignore[attr-defined]
        if last - first > LIMITS["more_files"]:
            faults.append(f"open files of {name} grow")
    before, after = found["p99_ms"]  # type: ignore[misc]
    if after > before * LIMITS["p99_growth"]:
        faults.append("p99 grows")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples")
    wanted = parser.parse_args()
    found = soak(wanted.minutes * 60, wanted.every)
    faults = broken(found) if wanted.minutes >= LONG_MINUTES else []
    print(json.dumps({**found, "broken": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
