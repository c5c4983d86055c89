"""`lineside engine verify`: a bundle's files against its manifest."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lineside.engines.commands.rim import BUNDLE, JSON, plain_errors


@click.command()
@BUNDLE
@JSON
def verify(bundle: Path, as_json: bool) -> None:
    """Check a bundle's files against its manifest."""
    from lineside.engines.bundle import verify_bundle

    with plain_errors():
        manifest = verify_bundle(bundle)
    if as_json:
        click.echo(json.dumps({"digest": manifest.digest, "files": len(manifest.files)}))
    else:
        click.echo(f"{bundle}: {len(manifest.files)} files, all right; digest {manifest.digest}")
