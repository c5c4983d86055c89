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
ROUNDS, REPEATS, PROMPT, STEPS = 3, 3, 256, 32


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
        found: dict[str, dict[str, list[float]]] = {
            peer: {"prefill": [], "decode": [], "peak_mib": []} for peer in peers
        }
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
                found[peer]["prefill"] += [PROMPT / seconds for seconds in one["prefill"]]
                found[peer]["decode"] += [STEPS / seconds for seconds in one["decode"]]
                found[peer]["peak_mib"].append(one["peak_mib"])
                instructions = one.get("instructions", instructions)
        for what, goal in (("prefill", 2.0), ("decode", 1.3)):
            middle = {peer: harness.median(numbers[what]) for peer, numbers in found.items()}
            best = {peer: max(numbers[what]) for peer, numbers in found.items()}
            rows.append(
                [
                    f"{what}, tokens/s, median (best)",
                    threads,
                    *(f"{middle[peer]:.1f} ({best[peer]:.1f})" for peer in peers),
                    _goal(middle["ours"] / middle["theirs"], goal),
                    f"{middle['ours, blocks of 32'] / middle['theirs']:.2f}×",
                    f"{best['ours'] / best['theirs']:.2f}×",
                ]
            )
        peaks = [max(numbers["peak_mib"]) for numbers in found.values()]
        rows.append(["peak memory, MiB", threads, *peaks, f"{peaks[0] / peaks[2]:.2f}×", "", ""])
    harness.print_table(
        f"Prefill of {PROMPT} and decoding of {STEPS} tokens, {size}, int4, no server on either side",
        ["", "threads", *peers, "ratio", "with blocks of 32", "best to best"],
        rows,
        [
            f"llama.cpp: the xllamacpp wheel, compiled for `{instructions}`; Q4_0 (blocks of 32), its defaults "
            "otherwise. Ours takes each matrix's block by measured error, which is 128 here.",
        ],
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
