"""`lineside enroll`: joins a fleet with a one-time token, or takes a certificate that was signed by hand.

Exit codes: 0 joined, 2 wrong usage, 3 refused.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

import click

from lineside.daemon.clock import SystemClock
from lineside.daemon.pki.device import DeviceKeys, Enrolment
from lineside.daemon.pki.enrol import enrol, read_token
from lineside.daemon.pki.files import PkiError, certificates_in
from lineside.daemon.pki.identity import BadIdentity, identity_of
from lineside.daemon.settings import load_settings
from lineside.daemon.yamlfile import BadFile

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("/etc/lineside/lineside.yaml"),
    show_default=True,
    help="Settings file.",
)
@click.option("--fleet", "url", help="Address of the fleet's server: https://host:port.")
@click.option(
    "--token-file", type=click.File("r"), help="File with the one-time token; - reads it from a pipe."
)
@click.option("--certificate", type=_FILE, help="Instead of a fleet: a certificate chain signed by hand.")
@click.option("--authority", type=_FILE, help="The authority's certificate, with --certificate.")
def enroll(
    config: Path,
    url: str | None,
    token_file: TextIO | None,
    certificate: Path | None,
    authority: Path | None,
) -> None:
    """Joins a fleet: brings this device a certificate for its key, and whom to let in.

    Run it as the daemon's user. A daemon that runs takes the certificate within a minute, without a restart.
    """
    by_token, by_hand = url is not None and token_file is not None, None not in (certificate, authority)
    if by_token == by_hand:
        raise click.UsageError("give --fleet and --token-file, or --certificate and --authority")
    try:
        device = load_settings(config).device
        keys = DeviceKeys.under(device.data_dir, device.id)
        keys.ensure()
        # Said before anything is asked for: what a person compares with what the fleet's server was shown.
        click.echo(f"this device's key has the fingerprint {keys.fingerprint()}")
        if token_file is not None and url is not None:
            given = enrol(url, read_token(token_file.read(1024)), device.id, keys.request_text())
        else:
            assert certificate is not None
            assert authority is not None
            given = _by_hand(certificate.read_text(), authority.read_text())
        ends = keys.install(given, url or "", SystemClock().now())
    except BadFile as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except (PkiError, OSError) as error:
        click.echo(f"not enrolled: {error}", err=True)
        sys.exit(3)
    click.echo(f"{device.id} belongs to the fleet {given.fleet}; its certificate lasts until {ends:%Y-%m-%d}")


def _by_hand(certificate: str, authority: str) -> Enrolment:
    try:
        fleet = identity_of(certificates_in(certificate)[0]).fleet
    except BadIdentity as error:
        raise PkiError(str(error)) from None
    return Enrolment(certificate, authority, fleet)
