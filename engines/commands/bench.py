"""`lineside engine bench`: an engine's speed on this machine, beside what the machine could do at most."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineside.engines.commands.rim import (
    BUNDLE,
    JSON,
    RUNTIME,
    THREADS,
    as_json_text,
    plain_errors,
    size_in_pixels,
)
from lineside.engines.memory import size_text

# About what the largest caches of a processor hold.
_CACHED = 32 << 20

if TYPE_CHECKING:
    from lineside.engines.bench import BenchReport
    from lineside.engines.roofline_table import Bound


@click.command()
@BUNDLE
@click.option("--image", "size", metavar="WxH", default="448x448", show_default=True, help="Of the pictures.")
@click.option("--tokens", type=click.IntRange(1), default=256, show_default=True, help="Of the prefill.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Medians are of these.")
@click.option("--device", metavar="NAME", help="Whose data sheet to stand beside; found out by default.")
@RUNTIME
@THREADS
@JSON
def bench(
    bundle: Path,
    size: str,
    tokens: int,
    repeats: int,
    device: str | None,
    runtime: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure prefill, decode, vision and whole inspections, and this machine's own limits.

    On a device that `lineside engine roofline` lists, its limits by the data sheet stand beside them.
    """
    from lineside.engines.bench import bench_engine, sheet_bound
    from lineside.engines.open import default_cache
    from lineside.engines.roofline_devices import DEVICES, detect, device_named

    box = detect() if device is None else device_named(device)
    if device is not None and box is None:
        raise click.UsageError(f"--device {device!r}: choose one of {', '.join(one.name for one in DEVICES)}")

    pixels = size_in_pixels(size)
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
        sheet = None if box is None else sheet_bound(bundle, default_cache(), box, pixels, tokens)
    if as_json:
        bounds = {
            "prefill_bound_tokens_s": report.prefill_bound_tokens_s,
            "decode_bound_tokens_s": report.decode_bound_tokens_s,
            "data_sheet": None if sheet is None else asdict(sheet),
        }
        click.echo(as_json_text(asdict(report) | bounds))
    else:
        click.echo("\n".join(_lines(report, size, sheet)))


def _lines(report: BenchReport, size: str, sheet: Bound | None) -> list[str]:
    graph, roof, one, traffic = report.graph, report.roofline, report.inspection, report.traffic
    past = graph.prompt_tokens
    held = ", ".join(f"{kind} {size_text(count)}" for kind, count in traffic.weights.items())
    return [
        f"machine ({roof.threads} threads): memory {roof.read_bytes_s / 1e9:.1f} GB/s read, "
        f"{roof.triad_bytes_s / 1e9:.1f} GB/s triad; {2 * roof.multiply_adds_s / 1e9:.0f} GFLOPS float32",
        f"a token streams {size_text(traffic.bytes_at(past))} after {past}: {held}; states "
        f"{size_text(traffic.states)}; cache {size_text(traffic.per_past_token * (past + 1))}",
        "",
        f"{'':<20}{'measured':>14}{'at most':>14}{'share':>8}",
        _row(f"prefill of {past}", graph.prefill_tokens_s, report.prefill_bound_tokens_s),
        _row("decode", graph.decode_tokens_s, report.decode_bound_tokens_s),
        *_caveat(report),
        *([] if sheet is None else _beside(report, sheet)),
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


def _beside(report: BenchReport, sheet: Bound) -> list[str]:
    """The same against the device's data sheet (`lineside engine roofline`)."""
    prefill = 1e3 * sheet.prefill_tokens / sheet.prefill_ms
    return [
        f"{sheet.device} by its data sheet:",
        _row("prefill", report.graph.prefill_tokens_s, prefill),
        _row("decode", report.graph.decode_tokens_s, sheet.decode_tokens_s),
        f"{'vision':<20}{report.inspection.vision_ms:>11.2f} ms{sheet.vision_ms:>11.2f} ms",
    ]


def _row(name: str, measured: float, bound: float) -> str:
    return f"{name:<20}{measured:>10.1f} t/s{bound:>10.1f} t/s{measured / bound:>8.0%}"
