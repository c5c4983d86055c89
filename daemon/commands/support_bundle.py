"""`lineside support-bundle`: one file that helps to find a fault from afar.

Exit codes: 0 written, 2 wrong usage, 3 the file cannot be written.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lineside.daemon.clock import SystemClock
from lineside.daemon.doctor.base import look_at
from lineside.daemon.doctor.examine import examine
from lineside.daemon.support.archive import write_archive
from lineside.daemon.support.collect import PARTS, Wanted, collect, journal
from lineside.daemon.support.redact import Redactor, secrets_of

EXIT_UNWRITABLE = 3


@click.command("support-bundle")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("/etc/lineside/lineside.yaml"),
    show_default=True,
    help="Settings file.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write, a .tar.gz.",
)
def support_bundle(config: Path, output: Path) -> None:
    """Collects versions, settings, recipes, the doctor's findings and the last logs into one file.

    No pictures, no verdicts, no secrets: passwords and keys are replaced by *** wherever they stand. Look
    into it before you send it: recipes and station names are in it.
    """
    clock = SystemClock()
    subject = look_at(config, clock)
    redact = Redactor(secrets_of(subject.settings) if subject.settings is not None else ())
    wanted = Wanted(subject, tuple(examine(subject)), journal)
    try:
        size = write_archive(output, collect(wanted, redact), clock.now())
    except OSError as error:
        click.echo(f"{output} cannot be written: {error.strerror}", err=True)
        sys.exit(EXIT_UNWRITABLE)
    click.echo(f"{output}: {', '.join(PARTS)}; {size} bytes")
