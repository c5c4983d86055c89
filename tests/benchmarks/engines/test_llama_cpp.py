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
ROUNDS, REPEATS, PROMPT, STEPS, REPEATED = 3, 2, 256, 24, 3


def _goal(ratio: float, wanted: float) -> str:
    return f"{ratio:.2f}× (goal {wanted}×)"


@pytest.mark.parametrize("size", SIZES)
def test_prefill_and_decode(size: str) -> None:
    shape = shapes.SHAPES[size]
    peers: dict[str, tuple[str, dict[str, object]]] = {
        "ours": ("ours_speed", {"bundle": harness.bundle(shape, "int4")}),
        "ours, blocks of 32": ("ours_speed", {"bundle": harness.bundle(shape, "int4", block=32)}),
        "theirs": ("theirs_speed", {"gguf": harness.gguf(shape)}),
    }
    rows: list[list[object]] = []
    instructions = ""
    for threads in range(1, len(harness.cores()) + 1):
        found: dict[str, dict[str, list[float]]] = {peer: {} for peer in peers}
        # Turn about, so that what else the machine does falls on all of them.
        for _ in range(ROUNDS):
            for peer, (name, file) in peers.items():
                one = harness.measure(
                    name,
                    on=harness.cores(threads),
                    threads=threads,
                    prompt=PROMPT,
                    steps=STEPS,
                    repeats=REPEATS,
                    **file,
                )
                for what, count in (("prefill", PROMPT), ("decode", STEPS)):
                    found[peer].setdefault(what, []).extend(count / wall for wall, _ in one[what])
                    found[peer].setdefault(f"{what} CPU", []).extend(count / cpu for _, cpu in one[what])
                found[peer].setdefault("peak_mib", []).append(one["peak_mib"])
                instructions = one.get("instructions", instructions)
        for what, goal in (("prefill", 2.0), ("decode", 1.3)):
            middle = {peer: harness.median(numbers[what]) for peer, numbers in found.items()}
            best = {peer: max(numbers[what]) for peer, numbers in found.items()}
            spent = {peer: harness.median(numbers[f"{what} CPU"]) for peer, numbers in found.items()}
            rows.append(
                [
                    f"{what}, tokens/s, median (best)",
                    threads,
                    *(f"{middle[peer]:.1f} ({best[peer]:.1f})" for peer in peers),
                    _goal(middle["ours"] / middle["theirs"], goal),
                    f"{middle['ours, blocks of 32'] / middle['theirs']:.2f}×",
                    f"{best['ours'] / best['theirs']:.2f}×",
                    # Several threads that wait for one another spin: only one thread's time says something.
                    f"{spent['ours'] / spent['theirs']:.2f}×" if threads == 1 else "",
                ]
            )
        peaks = [max(numbers["peak_mib"]) for numbers in found.values()]
        rows.append(["peak memory, MiB", threads, *peaks, f"{peaks[0] / peaks[2]:.2f}×", "", "", ""])
    harness.print_table(
        f"Prefill of {PROMPT} and decoding of {STEPS} tokens, {size}, int4, no server on either side",
        ["", "threads", *peers, "ratio", "with blocks of 32", "best to best", "by CPU time"],
        rows,
        [
            f"llama.cpp: the xllamacpp wheel, compiled for `{instructions}`; Q4_0 (blocks of 32), its "
            "defaults otherwise. Ours takes each matrix's block by measured error, which is 128 here.",
        ],
    )
    assert rows


@pytest.mark.parametrize("threads", range(1, len(harness.cores()) + 1))
@pytest.mark.parametrize("size", SIZES)
def test_inspections(size: str, threads: int) -> None:
    shape = shapes.SHAPES[size]
    ours_bundle, theirs_file = harness.bundle(shape, "int4"), harness.gguf(shape)
    rows: list[list[object]] = []
    on = harness.cores(threads)
    ours = harness.measure("ours_inspection", on=on, bundle=ours_bundle, threads=threads, repeats=REPEATED)
    words, ending = ours["next"][0]["prefix"], ours["next"][0]["prompt"]
    given = {"on": on, "gguf": theirs_file, "threads": threads, "repeats": REPEATED}
    question = ours["second"][0]["prompt"]
    given |= {"words": words, "ending": ending, "question": question}
    server = harness.measure("theirs_inspection", **given)
    written = server["next"][0]["written"]
    by_hand = harness.measure("theirs_by_hand", **given, written=written)
    said = (
        f"{words} tokens of fixed words, 64 of picture, {ending} after it ({question} for the other "
        f"question). The answer is one of four words in JSON, {written} tokens: llama.cpp decodes them "
        "one by one under a grammar, lineside reads the forced ones in one step. It has the picture as "
        "plain tokens, so lineside's vision pass is a row of its own. By hand: states saved and put back "
        "through llama.cpp's C interface, no server, no sampling."
    )
    for name, title in (
        ("first", "first answer of a recipe"),
        ("next", "the next part: same words, another picture"),
        ("second", "another question about the same picture"),
    ):
        mine = harness.median([one["prefill"] + one["decode"] for one in ours[name]])
        other, hand = (harness.median([one["total"] for one in run[name]]) for run in (server, by_hand))
        spent = harness.median([one["cpu_unseen"] for one in ours[name]])
        by_cpu = [harness.median([one["cpu"] for one in run[name]]) / spent for run in (server, by_hand)]
        last = ours[name][-1]
        rows.append(
            [
                title,
                1e3 * mine,
                1e3 * other,
                f"{other / mine:.2f}×" if name == "first" else _goal(other / mine, 5.0),
                1e3 * hand,
                f"{hand / mine:.2f}×",
                " / ".join(f"{ratio:.2f}×" for ratio in by_cpu) if threads == 1 else "",
                f"{last['prompt'] + last['image'] + last['forced']} / {server[name][-1]['read']}",
            ]
        )
    vision = 1e3 * harness.median([one["vision"] + one["preprocess"] for one in ours["next"]])
    rows.append(["the picture's vision pass", vision, *[""] * 6])
    peaks = ours["peak_mib"], server["peak_mib"], by_hand["peak_mib"]
    rows.append(["peak memory, MiB", peaks[0], peaks[1], "", peaks[2], "", "", ""])
    harness.print_table(
        f"One inspection, {size}, int4, {threads} threads: milliseconds, medians of {REPEATED}",
        [
            "",
            "lineside",
            "llama.cpp's server",
            "ratio",
            "by hand",
            "ratio",
            "by CPU time",
            "tokens read",
        ],
        rows,
        [said],
    )
    assert rows
