"""`lineside engine keys`: keys that engines are signed with."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lineside.engines.commands.rim import JSON, plain_errors
from lineside.engines.signing import key_id, new_key, public_key, sign_bundle, trusted_keys


@click.group()
def keys() -> None:
    """Keys that vouch for engines: make, list, sign with."""


@keys.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", default="engine", show_default=True, help="Of the two files: NAME.key and NAME.pub.")
@JSON
def new(folder: Path, name: str, as_json: bool) -> None:
    """Make a pair of keys in DIR: NAME.key stays secret, NAME.pub goes where engines are trusted."""
    with plain_errors():
        made = new_key(folder, name)
    if as_json:
        click.echo(json.dumps({"id": made.id, "private": str(made.private), "public": str(made.public)}))
        return
    click.echo(f"{made.id}\n  {made.private}  keep it secret, and a copy of it safe")
    click.echo(f"  {made.public}  put it into the trust folder of every machine that shall take your engines")


@keys.command("list")
@click.argument("place", metavar="DIR|FILE.pub", type=click.Path(exists=True, path_type=Path))
@JSON
def list_keys(place: Path, as_json: bool) -> None:
    """List the ids of public keys, as a trust folder has them."""
    with plain_errors():
        ids = sorted(trusted_keys(place)) if place.is_dir() else [key_id(public_key(place))]
    click.echo(json.dumps(ids) if as_json else "\n".join(ids))


@keys.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.argument("key", metavar="NAME.key", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def sign(bundle: Path, key: Path) -> None:
    """Sign a finished bundle (after verifying it)."""
    with plain_errors():
        signer = sign_bundle(bundle, key)
    click.echo(f"{bundle}: signed by {signer}")
