"""Which of ONNX Runtime's options suit one engine in one process, and whether looking ahead pays.

The choice itself is in engines/onnxruntime/providers.py; these numbers are why.
"""

from __future__ import annotations

import os

import harness
import shapes

VARIANTS: dict[str, dict[str, object]] = {
    "as shipped": {},
    "idle threads spin": {"spin": True},
    "memory patterns": {"pattern": True},
    "no arena": {"arena": False},
    "denormals as zero": {"denormals": True},
}


def test_options_of_the_demo_engine() -> None:
    rows = []
    for threads in range(1, len(harness.cores()) + 1):
        for name, options in VARIANTS.items():
            if threads == 1 and name == "idle threads spin":
                continue
            one = harness.measure(
                "demo_speed",
                on=harness.cores(threads),
                bundle=harness.DEMO,
                threads=threads,
                seconds=3,
                options=options,
            )
            speeds = [one[question]["per_second"] for question in ("cap", "tablets", "code")]
            rows.append([name, threads, *speeds, one["cpu_per_second"], one["peak_mib"]])
    harness.print_table(
        "Options, demo engine: inspections a second, and CPU seconds spent a second",
        ["", "threads", "cap", "tablets", "code", "CPU", "peak MiB"],
        rows,
    )
    assert rows


def test_options_of_a_real_shape() -> None:
    shape = shapes.SHAPES[os.environ.get("LINESIDE_BENCH_SIZES", "0.8B").split(",")[0]]
    rows = []
    for threads in (len(harness.cores()),):
        for name, options in VARIANTS.items():
            one = harness.measure(
                "ours_speed",
                on=harness.cores(threads),
                bundle=harness.bundle(shape, "int4"),
                threads=threads,
                prompt=256,
                steps=24,
                repeats=3,
                options=options,
            )
            rows.append(
                [
                    name,
                    threads,
                    *(
                        count / harness.median([wall for wall, _ in one[what]])
                        for what, count in (("prefill", 256), ("decode", 24))
                    ),
                    one["peak_mib"],
                ]
            )
    harness.print_table(
        f"Options, {shape.name} int4: tokens a second",
        ["", "threads", "prefill 256", "decode", "peak MiB"],
        rows,
    )
    assert rows


def test_looking_ahead() -> None:
    """The next part's vision pass beside this part's decoder, against one after the other."""
    rows = []
    for title, file, size in (
        ("demo engine", harness.DEMO, 64),
        ("0.8B int4", harness.bundle(shapes.SMALL, "int4"), 256),
    ):
        one = harness.measure("looking_ahead", bundle=file, size=size, seconds=6 if size == 64 else 30)
        best = max(one["one thread"], one["two threads"])
        rows.append(
            [title, one["one thread"], one["two threads"], one["ahead"], f"{one['ahead'] / best:.2f}×"]
        )
    harness.print_table(
        "Vision and decoder of neighbouring parts at the same time: inspections a second on two cores",
        ["", "in turn, one thread", "in turn, two threads", "together, a thread each", "worth"],
        rows,
    )
    assert rows
