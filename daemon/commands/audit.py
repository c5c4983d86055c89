"""`lineside audit verify`: proves that no stored verdict was edited, removed or put in between.

Needs nothing but the database file; the daemon may be running. Exit codes: 0 the chain holds, 1 it does not,
2 wrong usage, 3 the file cannot be read.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import sys
from pathlib import Path

import click
from sqlalchemy.exc import SQLAlchemyError

from lineside.daemon.settings import load_settings
from lineside.daemon.store import changes
from lineside.daemon.store.chain import Verification, verify_database
from lineside.daemon.store.database import FILE, FOLDER, revision_of
from lineside.daemon.store.errors import StoreError
from lineside.daemon.store.schema import HEAD_REVISION
from lineside.daemon.yamlfile import BadFile

EXIT_BROKEN, EXIT_UNREADABLE = 1, 3
DEFAULT_CONFIG = Path("/etc/lineside/lineside.yaml")


@click.group()
def audit() -> None:
    """Proves what is stored."""


@audit.command()
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Settings file that names the data folder.  [default: {DEFAULT_CONFIG}]",
)
@click.option(
    "--database",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Database file, instead of the one the settings name.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of text.")
def verify(config: Path | None, database: Path | None, as_json: bool) -> None:
    """Checks every stored verdict: its hash, its link to the one before, and the tables beside it.

    So are the notes of who changed what, which are a chain of their own.

    The first row that does not hold is named, and the exit code is 1.
    """
    if config is not None and database is not None:
        raise click.UsageError("--config and --database exclude each other")
    file = database or _database_of(config or DEFAULT_CONFIG)
    try:
        found = _verified(file)
        broken = changes.verify_database(file)
    except (StoreError, SQLAlchemyError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        click.echo(f"{file} cannot be read: {cause}", err=True)
        sys.exit(EXIT_UNREADABLE)
    if as_json:
        change = None if broken is None else dataclasses.asdict(broken)
        click.echo(json.dumps({"database": str(file), **dataclasses.asdict(found), "broken_change": change}))
    else:
        click.echo(f"{file}: {_said(found)}")
        if broken is not None:
            click.echo(f"{file}: change {broken.sequence} does not hold: {broken.because}")
    sys.exit(0 if found.ok and broken is None else EXIT_BROKEN)


def _database_of(config: Path) -> Path:
    try:
        settings = load_settings(config)
    except BadFile as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_UNREADABLE)
    file = Path(settings.device.data_dir) / FOLDER / FILE
    if not file.is_file():
        click.echo(f"{file} is not there: has the daemon ever run with these settings?", err=True)
        sys.exit(EXIT_UNREADABLE)
    return file


def _verified(file: Path) -> Verification:
    revision = revision_of(file)
    if revision != HEAD_REVISION:
        # An empty file has no revision, and would pass as a chain without rows.
        have = "is empty" if revision is None else f"has schema {revision}"
        raise StoreError(
            f"it {have}, this release reads schema {HEAD_REVISION}: use the daemon's own release"
        )
    return verify_database(file)


def _said(found: Verification) -> str:
    if found.ok:
        return f"{found.rows} verdicts, the chain holds; head {found.head_hash}"
    held = f"the {found.rows} before it hold" if found.rows else "none before it"
    return f"verdict {found.first_broken} does not hold ({held}): {found.reason}"
