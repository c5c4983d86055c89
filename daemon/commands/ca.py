"""`lineside ca`: a fleet's certificate authority in a folder, for plants without a fleet dashboard.

Exit codes: 0 done, 2 wrong usage, 3 refused.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lineside.daemon.clock import SystemClock
from lineside.daemon.pki import files
from lineside.daemon.pki.authority import Authority
from lineside.daemon.pki.device import DeviceKeys
from lineside.daemon.pki.enrol_server import EnrolServer
from lineside.daemon.pki.files import PkiError
from lineside.daemon.pki.identity import KINDS, SERVICE, BadIdentity, Identity, Role

_FOLDER = click.Path(file_okay=False, path_type=Path)
_NAMES = click.option(
    "--name", "names", multiple=True, help="Host name or address it may serve under; repeatable."
)
_LOOK_EVERY_S = 3600.0


@click.group()
def ca() -> None:
    """The authority of a fleet: who its devices are, and who may call them."""


def _refusing(command: Callable[..., None]) -> Callable[..., None]:
    """Ends with 3 and one line for what a person must mend."""

    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (PkiError, BadIdentity, OSError) as error:
            click.echo(f"refused: {error}", err=True)
            sys.exit(3)

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run


@ca.command()
@click.argument("folder", type=_FOLDER)
@click.option("--fleet", required=True, help="Name of the fleet; it stands in every certificate.")
@_refusing
def init(folder: Path, fleet: str) -> None:
    """Begins an authority in FOLDER. Keep its ca.key where only you can read it, and a copy elsewhere."""
    authority = Authority.create(folder, fleet, SystemClock().now())
    click.echo(f"the fleet {fleet} has an authority in {folder}; its fingerprint is {authority.fingerprint}")


@ca.command()
@click.argument("folder", type=_FOLDER)
@click.argument("request", type=click.File("rb"))
@click.option("--role", required=True, type=click.Choice([kind for kind in KINDS if kind != SERVICE]))
@click.option("--who", required=True, help="Name of the person, program or device.")
@_NAMES
@click.option("--days", type=click.IntRange(1, 3650), help="How long it lasts; devices 90, others 365.")
@_refusing
def sign(folder: Path, request: Any, role: str, who: str, names: tuple[str, ...], days: int | None) -> None:
    """Signs the certificate REQUEST by the authority in FOLDER; writes certificate and chain to the output.

    The name and the role are those given here, never those in the request.
    """
    authority = Authority.open(folder)
    identity = Identity(authority.fleet, role, who)
    asked = files.request_in(request.read(64 * 1024))
    alternative = tuple(dict.fromkeys((who, *names))) if role == "device" else names
    leaf = authority.sign(asked, identity, SystemClock().now(), names=alternative, days=days)
    click.echo(files.pem(leaf, authority.certificate).decode(), nl=False)


@ca.command()
@click.argument("folder", type=_FOLDER)
@click.argument("who")
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
@click.option("--out", required=True, type=_FOLDER, help="Folder for WHO.key, WHO.crt and fleet-ca.crt.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long it lasts; 365.")
@_refusing
def issue(folder: Path, who: str, role: str, out: Path, days: int | None) -> None:
    """Makes a key and a certificate for a person or program WHO, ready for a client."""
    authority = Authority.open(folder)
    identity = Identity(authority.fleet, role, who)
    keys = DeviceKeys(out / f".{who}", who)
    keys.ensure()
    try:
        leaf = authority.sign(files.request_in(keys.request_text()), identity, SystemClock().now(), days=days)
        key = out / f"{who}.key"
        if key.exists():
            raise PkiError(f"{key} exists already, and a key is never overwritten: move it away first")
        keys.key.replace(key)
        files.replace(out / f"{who}.crt", files.pem(leaf, authority.certificate))
        files.replace(out / "fleet-ca.crt", files.pem(authority.certificate))
    finally:
        keys.key.unlink(missing_ok=True)
        keys.request.unlink(missing_ok=True)
        (out / f".{who}").rmdir()
    click.echo(f"{identity.uri}: {out / who}.key and .crt, until {leaf.not_valid_after_utc:%Y-%m-%d}")


@ca.command()
@click.argument("folder", type=_FOLDER)
@click.argument("device")
@_NAMES
@click.option(
    "--hours", type=click.IntRange(1, 24 * 30), default=24, show_default=True, help="How long it lasts."
)
@_refusing
def token(folder: Path, device: str, names: tuple[str, ...], hours: int) -> None:
    """Writes a token that lets DEVICE enrol once. Hand it over like a password."""
    click.echo(Authority.open(folder).token(device, SystemClock().now(), names=names, hours=hours))


@ca.command()
@click.argument("folder", type=_FOLDER)
@click.option(
    "--listen", default="0.0.0.0:8443", show_default=True, help="host:port; port 0 for any free one."
)
@click.option(
    "--name", "names", multiple=True, required=True, help="What devices call this machine; repeatable."
)
@_refusing
def serve(folder: Path, listen: str, names: tuple[str, ...]) -> None:
    """Serves enrolments and renewals by the authority in FOLDER until it is told to stop."""
    host, _, port = listen.rpartition(":")
    if not port.isascii() or not port.isdigit():
        raise click.UsageError("--listen must be host:port")
    clock = SystemClock()
    server = EnrolServer(Authority.open(folder), folder, names, (host.strip("[]"), int(port)), clock.now)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    bound = server.open()
    try:
        click.echo(json.dumps({"serving": f"https://{names[0]}:{bound}"}))
        while not stop.wait(_LOOK_EVERY_S):
            server.keep_fresh()
    finally:
        server.close()
