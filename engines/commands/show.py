"""`lineside engine show`: what a bundle says about itself, once it is verified."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lineside.engines.commands.rim import BUNDLE, JSON, plain_errors


@click.command()
@BUNDLE
@JSON
def show(bundle: Path, as_json: bool) -> None:
    """Say what a bundle is (and verify it)."""
    from lineside.engines.bundle import verify_bundle

    with plain_errors():
        manifest = verify_bundle(bundle)
    said = {
        "name": manifest.name,
        "version": manifest.version,
        "is_demo": manifest.is_demo,
        "digest": manifest.digest,
        "licence": manifest.licence,
        "precision": manifest.precision,
        "source": dict(manifest.source),
        "context_tokens": manifest.context_tokens,
        "runtimes": list(manifest.runtimes),
        "files": len(manifest.files),
        "scope": None
        if manifest.scope is None
        else [
            {"instruction": entry.instruction, "kind": entry.kind, "values": list(entry.values)}
            for entry in manifest.scope
        ],
        "card": dict(manifest.card),
    }
    if as_json:
        click.echo(json.dumps(said, ensure_ascii=False))
        return
    click.echo(f"{said['name']} {said['version']}" + ("  (demo engine)" if manifest.is_demo else ""))
    for key in ("digest", "licence", "precision", "context_tokens"):
        click.echo(f"  {key.replace('_', ' '):<15}{said[key]}")
    click.echo(f"  {'source':<15}" + ", ".join(f"{key} {value}" for key, value in manifest.source.items()))
    click.echo(f"  {'builds':<15}{', '.join(manifest.runtimes)}")
    click.echo(f"  {'files':<15}{len(manifest.files)}, all with the right sha256")
    for entry in manifest.scope or ():
        allowed = ", ".join(entry.values) or entry.pattern or "any"
        click.echo(f"  {'knows':<15}{entry.instruction}  {entry.kind}: {allowed}")
