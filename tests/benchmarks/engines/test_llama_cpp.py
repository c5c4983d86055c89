"""Against llama.cpp: the same random-weight shape, int4 both, the same tokens, the same cores.

Says by how much; fails only where something does not run or is not comparable. Sizes come from
`LINESIDE_BENCH_SIZES` (`0.8B`, or `0.8B,2B`).
"""

from __future__ import annotations

import os

import harness
import pytest
import shapes

pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (pip install 'lineside[bench]')")
pytest.importorskip("gguf", reason="gguf is not installed (pip install 'lineside[bench]')")

SIZES = os.environ.get("LINESIDE_BENCH_SIZES", "0.8B").split(",")
ROUNDS, PROMPT, STEPS = 3, 256, 32


def _goal(ratio: float, wanted: float) -> str:
    return f"{ratio:.2f}× (goal {wanted}×)"


@pytest.mark.parametrize("size", SIZES)
def test_prefill_and_decode(size: str) -> None:
    shape = shapes.SHAPES[size]
    ours_bundle, theirs_file = harness.bundle(shape, "int4"), harness.gguf(shape)
    rows, instructions = [], ""
    for threads in range(1, len(harness.cores()) + 1):
        on = harness.cores(threads)
        ours: dict[str, list[float]] = {"prefill": [], "decode": [], "peak_mib": []}
        theirs: dict[str, list[float]] = {"prefill": [], "decode": [], "peak_mib": []}
        # Turn about, so that what else the machine does falls on both.
        for _ in range(ROUNDS):
            for found, name, file in (
                (ours, "ours_speed", {"bundle": ours_bundle}),
                (theirs, "theirs_speed", {"gguf": theirs_file}),
            ):
                one = harness.measure(
                    name, on=on, threads=threads, prompt=PROMPT, steps=STEPS, repeats=3, **file
                )
                found["prefill"] += [PROMPT / seconds for seconds in one["prefill"]]
                found["decode"] += [STEPS / seconds for seconds in one["decode"]]
                found["peak_mib"].append(one["peak_mib"])
                instructions = one.get("instructions", instructions)
        for what, goal in (("prefill", 2.0), ("decode", 1.3)):
            mine, other = harness.median(ours[what]), harness.median(theirs[what])
            spread = " / ".join(f"{min(one[what]):.0f}–{max(one[what]):.0f}" for one in (ours, theirs))
            rows.append([f"{what}, tokens/s", threads, mine, other, _goal(mine / other, goal), spread])
        mine, other = max(ours["peak_mib"]), max(theirs["peak_mib"])
        rows.append(["peak memory, MiB", threads, mine, other, f"{mine / other:.2f}×", ""])
    harness.print_table(
        f"Prefill of {PROMPT} and decoding of {STEPS} tokens, {size}, int4, no server on either side",
        ["", "threads", "lineside", "llama.cpp", "ratio", "spread, ours / theirs"],
        rows,
        [f"llama.cpp: the xllamacpp wheel, compiled for `{instructions}`; Q4_0, its defaults otherwise."],
    )
    assert rows


@pytest.mark.parametrize("size", SIZES)
def test_inspections(size: str) -> None:
    shape = shapes.SHAPES[size]
    ours_bundle, theirs_file = harness.bundle(shape, "int4"), harness.gguf(shape)
    threads = len(harness.cores())
    ours = harness.measure("ours_inspection", bundle=ours_bundle, threads=threads, repeats=7)
    words, ending = ours["next_tokens"]["prefix"], ours["next_tokens"]["prompt"]
    given = {"gguf": theirs_file, "threads": threads, "repeats": 7, "words": words, "ending": ending}
    server = harness.measure("theirs_inspection", **given)
    written = server["next"][0]["written"]
    by_hand = harness.measure("theirs_by_hand", **given, written=written)
    rows: list[list[object]] = []
    for name, title in (
        ("first", "first answer of a recipe"),
        ("next", "the next part: same words, another picture"),
        ("second", "another question about the same picture"),
    ):
        # llama.cpp is given the picture as plain tokens: no vision pass on either side.
        mine = harness.median([one["prefill"] + one["decode"] for one in ours[name]])
        other = harness.median([one["total"] for one in server[name]])
        hand = harness.median([one["total"] for one in by_hand[name]])
        read = server[name][-1]["read"]
        ratio = _goal(other / mine, 5.0) if name != "first" else f"{other / mine:.2f}×"
        tokens = ours[f"{name}_tokens"]
        ours_read = tokens["prompt"] + tokens["image"]
        rows.append(
            [
                title,
                1e3 * mine,
                1e3 * other,
                ratio,
                1e3 * hand,
                f"{hand / mine:.2f}×",
                f"{ours_read} / {read}",
            ]
        )
    vision = 1e3 * harness.median([one["vision"] + one["preprocess"] for one in ours["next"]])
    rows.append(["vision pass of the picture (ours only)", vision, "", "", "", "", ""])
    rows.append(["peak memory, MiB", ours["peak_mib"], server["peak_mib"], "", by_hand["peak_mib"], "", ""])
    harness.print_table(
        f"One inspection, {size}, int4, {threads} threads: {words} + 64 of picture + {ending} tokens",
        ["ms", "lineside", "llama.cpp server", "ratio", "llama.cpp, states by hand", "ratio", "tokens read"],
        rows,
        [
            f"The answer is one of four words in JSON: {written} tokens, which llama.cpp decodes one by one "
            "under a grammar and lineside reads in one step.",
        ],
    )
    assert all(one["written"] > 1 for one in server["next"])
