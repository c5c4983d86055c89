"""`lineside dashboard`: the pages and the follower; `lineside dashboard user`: who may come in."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from sqlalchemy.exc import SQLAlchemyError

from lineside.dashboard import backup as backups
from lineside.dashboard import logs, processes
from lineside.dashboard.alerts.channels import Channel, read_channels
from lineside.dashboard.backup import RefusedBackup, back_up
from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import Address, DashboardConfig, DeviceTls, RefusedConfiguration, Tls
from lineside.dashboard.database.connection import Database, RefusedDatabase, read_url
from lineside.dashboard.database.migrate import migrate
from lineside.dashboard.enrolment.commands import enrolment
from lineside.dashboard.ingest.owner import Owner
from lineside.dashboard.people import accounts, audit
from lineside.dashboard.people.commands import user, write_link
from lineside.dashboard.serve import DashboardServer
from lineside.dashboard.simulator.__main__ import main as simulate

REFUSED = 3


def default_database() -> str:
    """Beside systemd's state where it runs us, else in this user's own."""
    return f"sqlite:///{_state_folder() / 'dashboard.db'}"


def default_bundles() -> Path:
    """Where uploaded engine bundles are kept unless another folder is named."""
    return _state_folder() / "bundles"


def _state_folder() -> Path:
    folder = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if folder:
        return Path(folder)
    return Path(os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")) / "lineside"


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--device", "devices", multiple=True, metavar="HOST:PORT",
                     help="gRPC address of a device to follow; may be given several times."),
        click.option("--mqtt", "broker", metavar="HOST:PORT",
                     help="The plant's broker: devices that announce themselves on it are followed as well."),
        click.option("--database", envvar="LINESIDE_DASHBOARD_DATABASE", metavar="URL",
                     help="sqlite:///FILE or postgresql://USER@HOST/NAME. Default: this user's own file."),
        click.option("--device-key", type=click.Path(path_type=Path), metavar="FILE",
                     help="This dashboard's own key for devices (mutual TLS), PEM."),
        click.option("--device-certificate", type=click.Path(path_type=Path), metavar="FILE",
                     help="Its certificate, which names the role that devices give it, PEM."),
        click.option("--device-authority", type=click.Path(path_type=Path), metavar="FILE",
                     help="The fleet's authority, which signed the devices' certificates, PEM."),
        click.option("--bundles", type=click.Path(path_type=Path), metavar="FOLDER",
                     help="Where uploaded engine bundles are kept. Default: beside the state of this user."),
        click.option("--alerts", type=click.Path(path_type=Path), metavar="FILE",
                     help="Where alerts are told: mail and webhooks, TOML (docs/dashboard.md)."),
        click.option("--listen", default="127.0.0.1:8088", show_default=True, metavar="HOST:PORT",
                     help="Where browsers come in; without TLS on this machine only."),
        click.option("--tls-certificate", type=click.Path(path_type=Path), metavar="FILE",
                     help="The certificate to serve with, PEM, with its chain."),
        click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="Its key, PEM."),
        click.option("--proxied-as", metavar="NAME",
                     help="Behind a proxy on this machine that does TLS under this name."),
        click.option("--workers", type=int, default=2, show_default=True, help="Processes that draw pages."),
        click.option("--timezone", metavar="ZONE",
                     help="Zone of times and shifts, as in Europe/Berlin. Default: this machine's."),
        click.option("--json-logs", is_flag=True, help="Log JSON lines, for machines."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _config(told: dict[str, Any]) -> DashboardConfig:
    certificate, key = told["tls_certificate"], told["tls_key"]
    if (certificate is None) != (key is None):
        raise RefusedConfiguration("--tls-certificate and --tls-key belong together: give both")
    return DashboardConfig(
        devices=tuple(Address.parse(device) for device in told["devices"]),
        broker=Address.parse(told["broker"]) if told["broker"] else None,
        database=told["database"] or default_database(),
        listen=Address.parse(told["listen"]),
        tls=Tls(certificate, key) if certificate is not None else None,
        device_tls=_device_tls(told),
        bundles=told["bundles"] or default_bundles(),
        alert_channels=told["alerts"],
        proxied_as=told["proxied_as"],
        workers=told["workers"],
        timezone=ZoneInfo(told["timezone"]) if told["timezone"] else None,
    )


def _device_tls(told: dict[str, Any]) -> DeviceTls | None:
    key, certificate, authority = (
        told[name] for name in ("device_key", "device_certificate", "device_authority")
    )
    given = [one for one in (key, certificate, authority) if one is not None]
    if not given:
        return None
    if len(given) < 3:
        raise RefusedConfiguration(
            "--device-key, --device-certificate and --device-authority belong together: give all three"
        )
    return DeviceTls(key, certificate, authority)


@click.group(invoke_without_command=True)
@_options
@click.option(
    "--sign-in-link-to",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="For a demonstration on this machine: writes a link there that signs in once, as user 'demo'.",
)
@click.pass_context
def dashboard(context: click.Context, /, sign_in_link_to: Path | None, **told: Any) -> None:
    """Show, trace and steer a fleet in a browser.

    Serves the pages and follows the devices until it is stopped (Ctrl-C).
    """
    try:
        config = _config(told)
        database = Database(read_url(config.database))
        context.call_on_close(database.close)
        migrate(database)
    except (RefusedConfiguration, RefusedDatabase) as error:
        _refuse(str(error))
    except SQLAlchemyError as error:
        _refuse(f"the database cannot be opened: {str(error).splitlines()[0]}")
    except (ZoneInfoNotFoundError, ValueError):
        raise click.BadParameter(
            f"no time zone '{told['timezone']}'; use a name as in Europe/Berlin"
        ) from None
    logs.configure(json_lines=told["json_logs"])
    context.obj = (config, database)
    if context.invoked_subcommand is None:
        _serve(config, database, sign_in_link_to, _words(told))


dashboard.add_command(user)
dashboard.add_command(simulate)
dashboard.add_command(enrolment)


@dashboard.command()
@click.pass_obj
def web(opened: tuple[DashboardConfig, Database]) -> None:
    """Only the pages, where another process follows."""
    config, database = opened
    database.close()
    DashboardServer(config).run()  # type: ignore[no-untyped-call]  # gunicorn is untyped


@dashboard.command()
@click.pass_obj
def follow(opened: tuple[DashboardConfig, Database]) -> None:
    """Only follow the devices, where other processes show the pages. One follows; others wait their turn."""
    config, database = opened
    stopping = threading.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_: stopping.set())
    Owner(database, config, channels=_channels(config)).run(stopping)


@dashboard.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def backup(opened: tuple[DashboardConfig, Database], file: Path) -> None:
    """Write the whole database into FILE while everything goes on."""
    try:
        counts = back_up(opened[1], file, utc_now())
    except RefusedBackup as error:
        _refuse(str(error))
    click.echo(f"{file}: {sum(counts.values())} rows, {counts['results']} of them results")
    click.echo("Not in it: keys, certificates, the fleet's authority, secrets of channels. Copy them apart.")


@dashboard.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def restore(opened: tuple[DashboardConfig, Database], file: Path) -> None:
    """Fill the new, empty --database with the backup FILE, also one of the other kind."""
    try:
        counts = backups.restore(opened[1], file)
    except RefusedBackup as error:
        _refuse(str(error))
    with opened[1].reading() as session:
        check = audit.verify(session)
    click.echo(f"{sum(counts.values())} rows restored; everybody has to sign in again")
    if check.broken_at is not None:
        _refuse(f"the audit in it is broken at row {check.broken_at}: it was so when the backup was made")
    click.echo(f"the audit is whole: {check.rows} rows")


def _channels(config: DashboardConfig) -> tuple[Channel, ...]:
    """Where alerts are told; a file that cannot be ends the command with the reason."""
    try:
        return read_channels(config.alert_channels) if config.alert_channels is not None else ()
    except RefusedConfiguration as error:
        _refuse(str(error))


def _serve(config: DashboardConfig, database: Database, link_to: Path | None, words: list[str]) -> None:
    url = config.url
    _channels(config)
    if link_to is not None:
        if not config.listen.is_loopback or config.proxied_as:
            _refuse("--sign-in-link-to is for a demonstration on this machine: listen on 127.0.0.1")
        write_link(database, url, link_to)
    following = ", ".join(str(device) for device in config.devices) or "no device named"
    found = f" and what announces itself at {config.broker}" if config.broker else ""
    click.echo(f"Dashboard: {url}  following {following}{found}  (Ctrl-C ends it)")
    with database.reading() as session:
        nobody = not accounts.anybody(session)
    if nobody:
        click.echo(
            "Nobody can sign in yet, and there is no default password. Make the first user:\n"
            f"  lineside dashboard --database '{config.database}' user add NAME --role admin"
        )
    for device in config.devices:
        if not device.is_loopback and config.device_tls is None:
            click.echo(
                f"Note: {device} is followed without TLS: give --device-key and what belongs to it.",
                err=True,
            )
    database.close()
    raise SystemExit(
        processes.run(
            processes.command(["dashboard", *words, "web"]),
            processes.command(["dashboard", *words, "follow"]),
        )
    )


def _words(told: dict[str, Any]) -> list[str]:
    """The same options again, for the processes that do the work."""
    words = [word for device in told["devices"] for word in ("--device", device)]
    told = {**told, "database": told["database"] or default_database(), "mqtt": told["broker"]}
    of_devices = ("device_key", "device_certificate", "device_authority", "bundles")
    names = (
        "mqtt",
        "database",
        "listen",
        "tls_certificate",
        "tls_key",
        "proxied_as",
        "workers",
        "timezone",
        "alerts",
    )
    for name in (*of_devices, *names):
        if told[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(told[name])]
    return [*words, "--json-logs"] if told["json_logs"] else words


def _refuse(why: str) -> NoReturn:
    click.echo(f"lineside dashboard: {why}", err=True)
    raise SystemExit(REFUSED)
