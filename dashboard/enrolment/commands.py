"""`lineside dashboard enrolment`: lets devices in, in a process of its own beside the authority's key."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import click

from lineside.dashboard import logs
from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import Address, DashboardConfig, RefusedConfiguration
from lineside.dashboard.database.connection import Database
from lineside.dashboard.enrolment import desk
from lineside.dashboard.enrolment.server import RENEW_EVERY_S, EnrolmentServer
from lineside.dashboard.enrolment.signing import Authority, RefusedRequest

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("authority", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--listen",
    default="0.0.0.0:8443",
    show_default=True,
    metavar="HOST:PORT",
    help="Where devices come; port 0 is not for this.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    required=True,
    help="What devices call this machine, the first one in tokens' commands; repeatable.",
)
@click.option("--certificate", type=_FILE, help="This server's own certificate, where the key is a plant's.")
@click.option("--key", type=_FILE, help="Its key.")
@click.pass_obj
def enrolment(
    opened: tuple[DashboardConfig, Database],
    authority: Path,
    listen: str,
    names: tuple[str, ...],
    certificate: Path | None,
    key: Path | None,
) -> None:
    """Let devices into the fleet whose authority is in the folder AUTHORITY (`lineside ca init`)."""
    logs.configure(json_lines=False)
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key belong together: give both")
    database = opened[1]
    try:
        at = Address.parse(listen)
        root = Authority(authority)
        if not root.signs and certificate is None:
            raise RefusedRequest(
                "the authority's key is not here: give --certificate and --key, which it signed"
            )
        own = (certificate, key) if certificate is not None and key is not None else None
        server = EnrolmentServer(database, root, authority, names, at, utc_now, own)
        port = server.open()
    except (RefusedRequest, RefusedConfiguration, OSError) as error:
        raise click.ClickException(str(error)) from None
    stopping = threading.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_: stopping.set())
    url = f"https://{Address(names[0], port)}"
    try:
        with database.writing() as session:
            desk.note_served(session, root, url, utc_now())
        click.echo(json.dumps({"serving": url, "fleet": root.fleet}))
        while not stopping.wait(RENEW_EVERY_S):
            server.certify()
    finally:
        server.close()
