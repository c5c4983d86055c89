"""`lineside dashboard`: shows devices in a browser."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from lineside.dashboard import logs
from lineside.dashboard.config import Address, DashboardConfig, RefusedConfiguration
from lineside.dashboard.serve import DashboardServer

REFUSED = 3


@click.command()
@click.option(
    "--device",
    "devices",
    multiple=True,
    required=True,
    metavar="HOST:PORT",
    help="gRPC address of a device to show; may be given several times.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8088",
    show_default=True,
    metavar="HOST:PORT",
    help="Where browsers come in; loopback only, as there is no login yet.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help="Zone of the times shown, as in Europe/Berlin. Default: this machine's.",
)
@click.option("--json-logs", is_flag=True, help="Log JSON lines, for machines.")
def dashboard(devices: tuple[str, ...], listen: str, timezone: str | None, json_logs: bool) -> None:
    """Show the live wall of devices in a browser.

    Needs nothing but the devices' gRPC addresses and follows them until it is stopped (Ctrl-C).
    """
    try:
        config = DashboardConfig(
            devices=tuple(Address.parse(device) for device in devices),
            listen=Address.parse(listen),
            timezone=ZoneInfo(timezone) if timezone else None,
        )
    except RefusedConfiguration as error:
        click.echo(f"lineside dashboard: {error}", err=True)
        raise SystemExit(REFUSED) from None
    except (ZoneInfoNotFoundError, ValueError):
        raise click.BadParameter(f"no time zone '{timezone}'; use a name as in Europe/Berlin") from None
    logs.configure(json_lines=json_logs)
    shown = ", ".join(str(device) for device in config.devices)
    click.echo(f"Dashboard: http://{config.listen}/  following {shown}  (Ctrl-C ends it)")
    for device in config.devices:
        if not device.is_loopback:
            click.echo(
                f"Note: {device} is followed without TLS; use a tunnel on a network you do not trust.",
                err=True,
            )
    DashboardServer(config).run()  # type: ignore[no-untyped-call]  # gunicorn is untyped
