"""Memory over many inspections: the slope of a few hundred, and what it says of ten thousand."""

from __future__ import annotations

import gc
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lineside.engines.base import AnswersQuestions, Choice, Count, Image, Prompt, Text
from lineside.engines.open import Engine

STATUS = Path("/proc/self/status")
pytestmark = pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read from /proc")

WARM_UP, ROUNDS, BATCHES, BATCH = 240, 3, 12, 20
INSPECTIONS, ALLOWED_MIB = 10_000, 96
STUDENT_95 = 1.812  # one-sided 95 %, 10 degrees of freedom: 12 points, two fitted numbers


def resident_mib() -> float:
    found = re.search(r"VmRSS:\s+(\d+)", STATUS.read_text())
    assert found is not None
    return int(found[1]) / 1024


def steepest(memory: list[float]) -> float:
    """Mebibytes an inspection that memory grows by at most, with 95 % confidence."""
    x = np.arange(len(memory), dtype=float) * BATCH
    y = np.array(memory)
    slope, level = np.polyfit(x, y, 1)
    left = y - (slope * x + level)
    spread = np.sqrt((left**2).sum() / (len(memory) - 2) / ((x - x.mean()) ** 2).sum())
    return float(slope + STUDENT_95 * spread)


def picture(seed: int, height: int = 32, width: int = 40) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def inspections(engine: AnswersQuestions) -> Callable[[int], None]:
    """What a station does: several recipes, pictures of several sizes, never the same picture again."""
    golden = picture(10**6)

    def inspect(seed: int) -> None:
        size = 16 + 8 * (seed % 5)
        engine.answer([picture(seed, size)], Prompt("Is it ok?"), Choice(("ok", "cracked")))
        match seed % 3:
            case 0:
                engine.answer([picture(seed, 40, size)], Prompt("Count the tablets."), Count(0, 40))
            case 1:
                engine.answer([golden, picture(-seed + 2**31)], Prompt("The same?"), Choice(("yes", "no")))
            case _:
                engine.answer([picture(seed)], Prompt("Look.", "Read the code."), Text("K[0-9]{2}"))

    return inspect


def test_ten_thousand_inspections_stay_within_what_is_stated(bundle: Path) -> None:
    """States that are shared have a budget, which a few inspections fill; after that nothing may grow.

    What an allocator takes in one step of half a megabyte counts as growth here: the bound is a generous one.
    """
    with Engine.open(bundle, threads=1, snapshot_bytes=1 << 20, picture_bytes=1 << 18) as engine:
        inspect = inspections(engine)
        seeds = itertools.count()
        for _ in range(WARM_UP):
            inspect(next(seeds))
        # A leak grows in every round; a step of the allocator, in a process that others have used, in one.
        for _ in range(ROUNDS):
            memory: list[float] = []
            for _ in range(BATCHES):
                for _ in range(BATCH):
                    inspect(next(seeds))
                gc.collect()
                memory.append(resident_mib())
            growth = steepest(memory) * INSPECTIONS
            print(f"{growth:.1f} MiB at most after {INSPECTIONS} inspections, 95 % confidence")
            if growth < ALLOWED_MIB:
                break
        assert growth < ALLOWED_MIB, f"{growth:.0f} MiB more after {INSPECTIONS} inspections; {memory}"
        parts = engine._parts  # type: ignore[attr-defined]
        assert parts.reader.tree.size_bytes <= 1 << 20
        assert parts.pictures.size_bytes <= 1 << 18


def test_the_measure_sees_a_leak() -> None:
    """A state of this small engine has twenty kilobytes: one left behind by each inspection is seen."""
    noise = np.random.default_rng(1).normal(0, 0.05, BATCHES)
    flat = [100 + float(one) for one in noise]
    leaking = [100 + float(one) + 0.02 * BATCH * at for at, one in enumerate(noise)]
    assert steepest(flat) * INSPECTIONS < ALLOWED_MIB
    assert steepest(leaking) * INSPECTIONS > ALLOWED_MIB
