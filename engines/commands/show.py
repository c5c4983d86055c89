"""`lineside engine show`: a bundle's card, once it is verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineside.engines.bundle import Bundle
from lineside.engines.commands.rim import BUNDLE, JSON, TRUST, plain_errors, policy
from lineside.engines.memory import memory_need, size_text
from lineside.engines.signing import Standing

if TYPE_CHECKING:
    from lineside.engines.tensorrt.plans import Build

_CONTEXTS = (4096, 32_768, 262_144)


@click.command()
@BUNDLE
@TRUST
@JSON
def show(bundle: Path, trust: Path | None, as_json: bool) -> None:
    """Say what a bundle is, who vouches for it, and what memory it needs (and verify it)."""
    from lineside.engines.bundle import open_bundle
    from lineside.engines.open import default_cache
    from lineside.engines.tensorrt.plans import builds_root, list_builds

    with plain_errors():
        chosen = policy(trust)
        opened = open_bundle(bundle, default_cache(), chosen.admit)
        standing = chosen.standing(opened.manifest)
        builds = list_builds(builds_root(default_cache()), opened.manifest.digest)
    if as_json:
        said = _fields(opened, standing) | {"compiled": [_build_fields(one) for one in builds]}
        click.echo(json.dumps(said, ensure_ascii=False))
    else:
        compiled = [f"  {'compiled':<15}{_build_line(one)}" for one in builds]
        click.echo("\n".join([*_lines(opened, standing), *compiled]))


def _fields(bundle: Bundle, standing: Standing) -> dict[str, Any]:
    manifest, need = bundle.manifest, memory_need(bundle)
    return {
        "name": manifest.name,
        "version": manifest.version,
        "is_demo": manifest.is_demo,
        "digest": manifest.digest,
        "licence": manifest.licence,
        "precision": manifest.precision,
        "source": dict(manifest.source),
        "signature": {
            "standing": standing.value,
            "key": None if manifest.signature is None else manifest.signature.key,
        },
        "selftest": manifest.selftest is not None,
        "context_tokens": manifest.context_tokens,
        "memory_bytes": {
            "graphs": need.graphs,
            "fixed_states": need.fixed_states,
            "per_token": need.per_token,
            "by_context": {str(tokens): need.total(tokens) for tokens in _contexts(manifest.context_tokens)},
        },
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


def _build_fields(build: Build) -> dict[str, Any]:
    target, made = build.target, build.made
    return {
        "runtime": target.runtime,
        "version": target.version,
        "sm": target.sm,
        "context_tokens": made.context,
        "weights": made.rounding,
        "plans": sorted(build.graphs),
    }


def _build_line(build: Build) -> str:
    grids = ", ".join(name.removeprefix("vision-") for name in sorted(build.graphs) if "vision-" in name)
    seen = f", pictures of {grids} patches" if grids else ""
    return f"for {build.target}, context {build.made.context}{seen}"


def _contexts(most: int) -> list[int]:
    return [*(tokens for tokens in _CONTEXTS if tokens < most), most]


def _lines(bundle: Bundle, standing: Standing) -> list[str]:
    manifest, need = bundle.manifest, memory_need(bundle)
    signed = standing.value
    if manifest.signature is not None:
        signed = f"by {manifest.signature.key} ({standing.value})"
    rows = [
        ("digest", manifest.digest),
        ("licence", manifest.licence),
        ("source", ", ".join(f"{key} {value}" for key, value in manifest.source.items())),
        ("signature", signed),
        ("precision", manifest.precision),
        ("builds", ", ".join(manifest.runtimes)),
        ("files", f"{len(manifest.files)}, all with the right sha256"),
        ("self-test", "yes" if manifest.selftest is not None else "none"),
        ("context tokens", str(manifest.context_tokens)),
    ]
    rows += [
        ("memory", f"{size_text(need.total(tokens))} with a context of {tokens} tokens")
        for tokens in _contexts(manifest.context_tokens)
    ]
    for entry in manifest.scope or ():
        allowed = ", ".join(entry.values) or entry.pattern or "any"
        rows.append(("knows", f"{entry.instruction}  {entry.kind}: {allowed}"))
    rows += [(key.replace("_", " "), _short(value)) for key, value in manifest.card.items()]
    title = f"{manifest.name} {manifest.version}" + ("  (demo engine)" if manifest.is_demo else "")
    return [title, *(f"  {name:<15}{said}" for name, said in rows)]


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
