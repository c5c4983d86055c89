"""`lineside engine roofline`: what bandwidth and arithmetic allow at most, by device and engine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineside.engines.commands.rim import JSON, as_json_text, plain_errors, size_in_pixels
from lineside.engines.memory import size_text

if TYPE_CHECKING:
    from lineside.engines.roofline_devices import Device
    from lineside.engines.roofline_engines import Cost, Precision
    from lineside.engines.roofline_table import Bound

HERE = "this"


@click.command()
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME",
    help="`this` is measured now; all listed by default.",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="NAME",
    help="A published size, or a bundle's path; all by default.",
)
@click.option("--precision", "precisions", multiple=True, metavar="NAME", help="All by default.")
@click.option("--image", "size", metavar="WxH", default="640x480", show_default=True, help="Of the picture.")
@click.option(
    "--tokens", type=click.IntRange(0), default=64, show_default=True, help="Words beside the picture."
)
@click.option(
    "--past", type=click.IntRange(0), default=1024, show_default=True, help="Tokens when it decodes."
)
@click.option(
    "--context", type=click.IntRange(1), default=4096, show_default=True, help="Tokens set aside for."
)
@JSON
def roofline(
    devices: tuple[str, ...],
    engines: tuple[str, ...],
    precisions: tuple[str, ...],
    size: str,
    tokens: int,
    past: int,
    context: int,
    as_json: bool,
) -> None:
    """The physical limits: no engine decodes faster than memory streams its weights.

    `lineside engine bench` prints what an engine reaches beside the limit of the device it runs on.
    """
    from lineside.engines.roofline_table import Work, table

    width, height = size_in_pixels(size)
    work = Work(width, height, tokens, past, max(context, past))
    boxes = [_device(name) for name in devices] or list(_listed())
    with plain_errors():
        costs = [_cost(name) for name in engines] or list(_published())
    forms = _precisions(precisions)
    rows = list(table(costs, forms, boxes, work))
    if as_json:
        listed = [asdict(row) | {"first_token_ms": row.first_token_ms} for row in rows]
        click.echo(as_json_text({"devices": [asdict(box) for box in boxes], "rows": listed}))
        return
    for box in boxes:
        click.echo("\n".join(_lines(box, [row for row in rows if row.device == box.name], size)))


def _listed() -> tuple[Device, ...]:
    from lineside.engines.roofline_devices import DEVICES

    return DEVICES


def _device(name: str) -> Device:
    from lineside.engines.memory import total_bytes
    from lineside.engines.roofline import measure_roofline
    from lineside.engines.roofline_devices import device_named, this_machine

    if name == HERE:
        return this_machine(measure_roofline(), total_bytes() or 0)
    found = device_named(name)
    if found is None:
        known = ", ".join(device.name for device in _listed())
        raise click.UsageError(f"--device {name!r} is not listed: choose {HERE} or one of {known}")
    return found


def _published() -> tuple[Cost, ...]:
    from lineside.engines.roofline_engines import PUBLISHED, cost_of

    return tuple(cost_of(name, config) for name, config in PUBLISHED.items())


def _cost(name: str) -> Cost:
    from lineside.engines.bundle import open_bundle
    from lineside.engines.config import parse_config
    from lineside.engines.open import default_cache
    from lineside.engines.roofline_engines import PUBLISHED, cost_of

    if name in PUBLISHED:
        return cost_of(name, PUBLISHED[name])
    if not Path(name).exists():
        raise click.UsageError(
            f"--engine {name!r} is neither a file nor a published size: choose one of {', '.join(PUBLISHED)}"
        )
    bundle = open_bundle(Path(name), default_cache())
    return cost_of(bundle.manifest.name, parse_config(bundle.json("config.json")))


def _precisions(names: tuple[str, ...]) -> list[Precision]:
    from lineside.engines.roofline_engines import FP32, PRECISIONS

    known = {precision.name: precision for precision in (*PRECISIONS, FP32)}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise click.UsageError(f"--precision {wrong[0]!r}: choose one of {', '.join(known)}")
    return [known[name] for name in names] or list(PRECISIONS)


def _lines(box: Device, rows: list[Bound], size: str) -> list[str]:
    compute = ", ".join(f"{value / 1e12:.3g} {kind}" for kind, value in box.compute.items())
    note = f"; {box.note}" if box.note else ""
    head = (
        f"{'engine':<10}{'precision':<12}{'a token':>10}{'resident':>11}"
        f"{'decode':>11}{'vision':>11}{'prefill':>11}{'first token':>13}"
    )
    return [
        f"{box.name} ({box.source}{note}): {box.bandwidth / 1e9:.4g} GB/s, {size_text(box.memory)}, "
        f"tera-operations a second: {compute}",
        f"at most, with a picture of {size}:",
        head,
        *(_row(row) for row in rows),
        "",
    ]


def _row(row: Bound) -> str:
    if not row.runs:
        return f"{row.engine:<10}{row.precision:<12}{'the chip has no such numbers':>28}"
    room = "" if row.fits else "  does not fit"
    return (
        f"{row.engine:<9} {row.precision:<12}"
        f"{row.token_bytes / 1e9:>7.2f} GB{row.resident_bytes / 1e9:>8.1f} GB"
        f"{row.decode_tokens_s:>7.0f} t/s{row.vision_ms:>8.1f} ms{row.prefill_ms:>8.1f} ms"
        f"{row.first_token_ms:>10.1f} ms{room}"
    )
