"""What each idea buys, one at a time: everything on, then one of them off."""

from __future__ import annotations

import os

import harness
import pytest
import shapes

SIZES = os.environ.get("LINESIDE_BENCH_SIZES", "0.8B").split(",")


@pytest.mark.parametrize("size", SIZES)
def test_ideas(size: str) -> None:
    shape = shapes.SHAPES[size]
    threads = len(harness.cores())
    four, full = harness.bundle(shape, "int4"), harness.bundle(shape, "fp32")
    given = {"threads": threads, "repeats": 3}
    everything = harness.measure("ours_inspection", bundle=four, **given)
    runs = {
        "prefix snapshots": harness.measure("ours_inspection", bundle=four, snapshots=True, **given),
        "jump-forward": harness.measure("ours_inspection", bundle=four, jump=True, **given),
        "shared vision": harness.measure("ours_inspection", bundle=four, vision=True, **given),
        "int4 (against fp32)": harness.measure("ours_inspection", bundle=full, **given),
    }
    rows: list[list[object]] = [["everything on", *_totals(everything), everything["peak_mib"], "", ""]]
    for name, run in runs.items():
        worth = [
            " / ".join(
                f"{off / on:.2f}×" for off, on in zip(_totals(run, by), _totals(everything, by), strict=True)
            )
            for by in ("total", "cpu")
        ]
        rows.append([f"without {name}", *_totals(run), run["peak_mib"], *worth])
    harness.print_table(
        f"What each idea buys, {size}, {threads} threads: milliseconds an inspection, vision included",
        [
            "",
            "first answer",
            "next part",
            "second question",
            "peak MiB",
            "worth (first / next / second)",
            "by CPU time",
        ],
        rows,
    )
    assert _totals(everything, "cpu")[1] < _totals(everything, "cpu")[0]


def _totals(run: dict[str, list[dict[str, float]]], by: str = "total") -> list[float]:
    return [1e3 * harness.median([one[by] for one in run[name]]) for name in ("first", "next", "second")]
