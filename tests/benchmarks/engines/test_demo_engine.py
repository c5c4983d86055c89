"""The demo engine: inspections a second on one core, against the aim of 60."""

from __future__ import annotations

import harness


def test_one_core() -> None:
    on = harness.cores(1)
    found = harness.measure("demo_speed", on=on, bundle=harness.DEMO, threads=1, seconds=10)
    rows = []
    for name, one in found.items():
        if isinstance(one, dict):
            stages = {stage: 1e3 * seconds for stage, seconds in one["stages"].items()}
            rows.append([name, one["per_second"], one["per_cpu_second"], *stages.values(), one["count"]])
    harness.print_table(
        f"The demo engine on one core (core {on[0]}): inspections a second, aim 60; medians, milliseconds",
        ["question", "a second", "a second of CPU time", *stages, "measured"],
        rows,
        [f"Peak memory {found['peak_mib']:.0f} MiB."],
    )
    assert all(row[1] > 0 for row in rows)
