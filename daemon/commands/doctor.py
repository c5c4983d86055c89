"""`lineside doctor`: looks at a device, and says what is wrong and what to do about it.

Exit codes: 0 nothing failed (there may be warnings), 1 something failed, 2 wrong usage.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from lineside.daemon.clock import SystemClock
from lineside.daemon.doctor.base import Finding, Level, look_at
from lineside.daemon.doctor.examine import examine

EXIT_FAILED = 1
MARKS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILED: "✗", Level.SKIPPED: "–"}


@click.command()
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("/etc/lineside/lineside.yaml"),
    show_default=True,
    help="Settings file.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of text.")
def doctor(config: Path, as_json: bool) -> None:
    """Looks at settings, engine, cameras, broker, disk, clock and machine; changes nothing.

    Run it as the daemon's user (`sudo -u lineside lineside doctor`): rights are part of what it looks at.
    """
    found: list[Finding] = []
    for finding in examine(look_at(config, SystemClock())):
        found.append(finding)
        if not as_json:
            _say(finding)
    failed = sum(finding.level is Level.FAILED for finding in found)
    warnings = sum(finding.level is Level.WARNING for finding in found)
    if as_json:
        listed = [dataclasses.asdict(finding) for finding in found]
        click.echo(
            json.dumps({"failed": failed, "warnings": warnings, "findings": listed}, ensure_ascii=False)
        )
    else:
        click.echo(f"{failed} failed, {warnings} warnings")
    sys.exit(EXIT_FAILED if failed else 0)


def _say(finding: Finding) -> None:
    first, *more = finding.message.splitlines() or [""]
    click.echo(f"{MARKS[finding.level]} {finding.level:<8} {finding.check:<13} {first}")
    for line in more:
        click.echo(f"{'':25}{line}")
    if finding.next_step:
        click.echo(f"{'':25}→ {finding.next_step}")
