"""`lineside engine verify`: a bundle's files, its signature, and whether it computes what it did at build."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineside.engines.commands.rim import (
    BUNDLE,
    JSON,
    RUNTIME,
    THREADS,
    TRUST,
    as_json_text,
    plain_errors,
    policy,
)

if TYPE_CHECKING:
    from lineside.engines.bundle import Bundle
    from lineside.engines.selftest import SelfTestReport


@click.command()
@BUNDLE
@TRUST
@RUNTIME
@THREADS
@click.option("--no-selftest", is_flag=True, help="Check files and signature only.")
@JSON
def verify(
    bundle: Path, trust: Path | None, runtime: str, threads: int | None, no_selftest: bool, as_json: bool
) -> None:
    """Check a bundle's files, its signature, and its self-test on this machine.

    Nothing that was verified before counts. Ends with 3 where anything is wrong.
    """
    from lineside.engines.bundle import open_bundle, verify_bundle
    from lineside.engines.selftest import require_passed

    with plain_errors(), tempfile.TemporaryDirectory(prefix="lineside-verify-") as place:
        chosen = policy(trust)
        if bundle.is_dir():
            verify_bundle(bundle, chosen.admit)
        # An archive goes to a fresh place, where there are no records to trust either.
        opened = open_bundle(bundle, Path(place), chosen.admit)
        standing = chosen.standing(opened.manifest)
        report = None if no_selftest else _selftest(opened, runtime, threads, Path(place))
    manifest = opened.manifest
    if as_json:
        said = {
            "digest": manifest.digest,
            "files": len(manifest.files),
            "signature": standing.value,
            "key": None if manifest.signature is None else manifest.signature.key,
            "selftest": None if report is None else {**asdict(report), "passed": report.passed},
        }
        click.echo(as_json_text(said))
    else:
        click.echo(f"{bundle}: {len(manifest.files)} files, all right; digest {manifest.digest}")
        click.echo(f"  signature: {standing.value}")
        for line in _lines(report, skipped=no_selftest):
            click.echo(line)
    with plain_errors():
        require_passed(report, manifest.name)


def _selftest(bundle: Bundle, runtime: str, threads: int | None, place: Path) -> SelfTestReport | None:
    from lineside.engines.open import Engine
    from lineside.engines.selftest import run_selftest
    from lineside.engines.signing import TrustPolicy

    if bundle.manifest.selftest is None:
        return None
    # Files and signature were just verified; what is opened is the folder they lie in now.
    with Engine.open(bundle.folder, runtime, threads=threads, cache=place, trust=TrustPolicy()) as engine:
        return run_selftest(bundle, engine, engine.info.runtime)


def _lines(report: SelfTestReport | None, *, skipped: bool) -> list[str]:
    if report is None:
        return ["  self-test: not run" if skipped else "  self-test: the bundle has none"]
    lines = [f"  self-test on {report.runtime}, tolerance {report.tolerance:.0e}:"]
    for case in report.cases:
        said = case.objection or f"{len(case.tokens)} tokens, logits off by {case.error:.1e}"
        lines.append(f"    {'ok  ' if case.objection is None else 'FAIL'} {case.name}: {said}")
    return lines
