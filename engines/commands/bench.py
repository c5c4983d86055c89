"""`lineside engine bench`: an engine's speed on this machine, beside what the machine could do at most."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineside.engines.commands.rim import BUNDLE, JSON, RUNTIME, THREADS, as_json_text, plain_errors
from lineside.engines.memory import size_text

# About what the largest caches of a processor hold.
_CACHED = 32 << 20

if TYPE_CHECKING:
    from lineside.engines.bench import BenchReport


@click.command()
@BUNDLE
@click.option("--image", "size", metavar="WxH", default="448x448", show_default=True, help="Of the pictures.")
@click.option("--tokens", type=click.IntRange(1), default=256, show_default=True, help="Of the prefill.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Medians are of these.")
@RUNTIME
@THREADS
@JSON
def bench(
    bundle: Path, size: str, tokens: int, repeats: int, runtime: str, threads: int | None, as_json: bool
) -> None:
    """Measure prefill, decode, vision and whole inspections, and this machine's own limits."""
    from lineside.engines.bench import bench_engine
    from lineside.engines.open import default_cache

    pixels = _size(size)
    with plain_errors():
        report = bench_engine(
            bundle,
            default_cache(),
            image_size=pixels,
            tokens=tokens,
            repeats=repeats,
            runtime=runtime,
            threads=threads,
        )
    if as_json:
        bounds = {
            "prefill_bound_tokens_s": report.prefill_bound_tokens_s,
            "decode_bound_tokens_s": report.decode_bound_tokens_s,
        }
        click.echo(as_json_text(asdict(report) | bounds))
    else:
        click.echo("\n".join(_lines(report, size)))


def _size(words: str) -> tuple[int, int]:
    width, _, height = words.partition("x")
    if not (width.isascii() and height.isascii() and width.isdigit() and height.isdigit()):
        raise click.UsageError(f"--image takes WxH, not {words!r}")
    if not (0 < int(width) <= 16_384 and 0 < int(height) <= 16_384):
        raise click.UsageError(f"--image {words}: each side must be 1 to 16384")
    return int(width), int(height)


def _lines(report: BenchReport, size: str) -> list[str]:
    graph, roof, one, traffic = report.graph, report.roofline, report.inspection, report.traffic
    past = graph.prompt_tokens
    held = ", ".join(f"{kind} {size_text(count)}" for kind, count in traffic.weights.items())
    return [
        f"machine ({roof.threads} threads): memory {roof.read_bytes_s / 1e9:.1f} GB/s read, "
        f"{roof.triad_bytes_s / 1e9:.1f} GB/s triad; {2 * roof.multiply_adds_s / 1e9:.0f} GFLOPS float32",
        f"a token streams {size_text(traffic.bytes_at(past))} after {past}: {held}; states "
        f"{size_text(traffic.states)}; cache {size_text(traffic.per_past_token * (past + 1))}",
        "",
        f"{'':<22}{'measured':>12}{'at most':>12}{'share':>8}",
        _row(f"prefill of {past}", graph.prefill_tokens_s, report.prefill_bound_tokens_s),
        _row("decode", graph.decode_tokens_s, report.decode_bound_tokens_s),
        *_caveat(report),
        "",
        f"inspection of {size}: {one.prompt_tokens} tokens of words, {one.image_tokens} of picture, "
        f"{one.answer_tokens} of answer",
        f"  first      {one.first_ms:9.1f} ms   (opening the engine: {one.open_s:.2f} s)",
        f"  repeated   {one.repeated_ms:9.1f} ms   vision {one.vision_ms:.1f}, prefill {one.prefill_ms:.1f}, "
        f"decode {one.decode_ms:.1f}",
        f"  same again {one.again_ms:9.1f} ms",
        f"memory: {size_text(report.peak_bytes)} at most in this process; weights and states stated as "
        f"{size_text(report.stated_bytes)}",
    ]


def _caveat(report: BenchReport) -> list[str]:
    if report.traffic.bytes_at(report.graph.prompt_tokens) > _CACHED:
        return []
    return ["  (its weights fit into the processor's caches: memory does not bound its decoding)"]


def _row(name: str, measured: float, bound: float) -> str:
    return f"{name:<22}{measured:>8.1f} t/s{bound:>8.1f} t/s{measured / bound:>8.0%}"
