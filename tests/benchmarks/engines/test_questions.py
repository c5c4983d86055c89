"""What a second and a third question about one crop cost, read picture first, against words first."""

from __future__ import annotations

import os

import harness
import pytest
import shapes

SIZES = os.environ.get("LINESIDE_BENCH_SIZES", "0.8B").split(",")
THREADS, REPEATS, CROP = 1, 5, 256


@pytest.mark.parametrize("size", SIZES)
def test_questions_about_one_crop(size: str) -> None:
    bundle = harness.bundle(shapes.SHAPES[size], "int4")
    given = {"bundle": bundle, "threads": THREADS, "repeats": REPEATS, "size": CROP}
    runs = {
        name: harness.measure("questions_about_one_crop", on=harness.cores(THREADS), apart=apart, **given)
        for name, apart in (("words first, each for itself", True), ("picture first, shared", False))
    }
    rows: list[list[object]] = []
    totals: dict[str, tuple[float, float]] = {}
    for name, run in runs.items():
        clock = [1e3 * harness.median([one[0] for one in times]) for times in run.values()]
        cpu = [1e3 * harness.median([one[1] for one in times]) for times in run.values()]
        read = [int(times[-1][2]) for times in run.values()]
        totals[name] = sum(clock), sum(cpu)
        rows.append([name, *clock, sum(clock), sum(cpu), " / ".join(map(str, read))])
    before, after = totals.values()
    ratios = f"{before[0] / after[0]:.2f}×", f"{before[1] / after[1]:.2f}×"
    rows.append(["worth", "", "", "", *ratios, ""])
    harness.print_table(
        f"Three questions about one crop of {CROP}×{CROP}, {size} int4, {THREADS} thread: ms a part,"
        f" medians of {REPEATS}",
        ["", "first", "second", "third", "all three", "CPU time of all three", "tokens read by each"],
        rows,
    )
    assert after[1] < before[1]
