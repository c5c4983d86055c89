"""`lineside daemon` (and `linesided`): the appliance in the foreground, as systemd runs it."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click

from lineside.daemon.clock import SystemClock
from lineside.daemon.composition import Running, running
from lineside.daemon.gates.baseline import BadBaseline
from lineside.daemon.inspection.plan import Plan
from lineside.daemon.logs import configure
from lineside.daemon.metrics.server import MetricsAddressTaken
from lineside.daemon.notify import ServiceNotifier
from lineside.daemon.recipe_book import load_plan
from lineside.daemon.rpc.credentials import CredentialsUnusable
from lineside.daemon.rpc.server import AddressTaken
from lineside.daemon.service import tell_until
from lineside.daemon.settings import Settings, load_settings
from lineside.daemon.store.errors import StoreError
from lineside.daemon.yamlfile import BadFile

LOOK_EVERY_S = 5.0
"""Well below half of `WatchdogSec` in systemd/linesided.service."""


@click.command()
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("/etc/lineside/lineside.yaml"),
    show_default=True,
    help="Settings file.",
)
@click.option("--check", is_flag=True, help="Check settings and recipes, then end.")
def daemon(config: Path, check: bool) -> None:
    """Watches the cameras and judges parts until it is told to stop."""
    try:
        settings = load_settings(config)
        plans = [load_plan(station.recipe) for station in settings.stations]
    except (BadFile, BadBaseline) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    if check:
        click.echo(_checked(config, settings, plans))
        return
    configure(settings.log.level, settings.log.format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    notifier = ServiceNotifier.from_environment()
    clock = SystemClock()
    try:
        with running(settings, clock, stop, starting=notifier.starting) as appliance:
            notifier.ready(_status(appliance))
            tell_until(
                stop,
                notifier,
                clock,
                pulses=appliance.pulses,
                status=lambda: _status(appliance),
                every_s=LOOK_EVERY_S,
            )
            notifier.stopping()
    except (StoreError, AddressTaken, CredentialsUnusable, MetricsAddressTaken) as error:
        click.echo(f"linesided cannot start: {error}", err=True)
        sys.exit(3)


def _checked(config: Path, settings: Settings, plans: list[Plan]) -> str:
    recipes = ", ".join(f"{plan.ref.name} v{plan.ref.version}" for plan in plans)
    counted = f"{len(settings.cameras)} cameras, {len(settings.stations)} stations"
    return f"{config}: ok ({counted}, recipes: {recipes})"


def _status(appliance: Running) -> str:
    stations = appliance.appliance.stations()
    ready = sum(station.ready for station in stations)
    judged = sum(station.judged for station in stations)
    return f"{ready} of {len(stations)} stations ready, {judged} parts judged since start"
