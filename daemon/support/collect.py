"""What goes into a support bundle: named texts, each collected by one function. No pictures, no verdict rows.

Settings that do not hold are left out whole: only what is understood can be known to hold no secret.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import distributions, version
from pathlib import Path

from lineside.daemon.doctor.base import Finding, Subject
from lineside.daemon.recipes.load import load_recipe
from lineside.daemon.reporting import payload
from lineside.daemon.store import database
from lineside.daemon.store.records import SCHEMA
from lineside.daemon.store.schema import HEAD_REVISION
from lineside.daemon.support.redact import Redactor
from lineside.daemon.yamlfile import BadFile

LAST_LINES = 5000
MOST_LOG_CHARACTERS = 5_000_000
UNITS = ("linesided", "lineside-dashboard")

Collect = Callable[["Wanted"], object]
"""A text, or a JSON value."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a bundle is made from. `logs`: the last lines of the services' logs, or why there are none."""

    subject: Subject
    findings: tuple[Finding, ...]
    logs: Callable[[], str]


def journal() -> str:
    """The services' last log lines, from systemd's journal."""
    command = ["journalctl", "--no-pager", "--output=short-iso", f"--lines={LAST_LINES}"]
    command += [f"--unit={unit}" for unit in UNITS]
    try:
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no logs: {error}"
    if done.returncode != 0:
        return f"no logs: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="replace")


def _versions(wanted: Wanted) -> object:
    packages = {one.metadata["Name"]: one.version for one in distributions() if one.metadata["Name"]}
    release = wanted.subject.root / "etc/os-release"
    return {
        "lineside": version("lineside"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "os_release": release.read_text() if release.is_file() else None,
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


def _schemas(wanted: Wanted) -> object:
    spoken = [SCHEMA, payload.STATUS, payload.STATION, payload.METRICS, payload.ALERT]
    return {"database": HEAD_REVISION, "messages": spoken}


def _settings(wanted: Wanted) -> object:
    settings = wanted.subject.settings
    if settings is None:
        return "left out: the settings do not hold, and what is not understood may hold a secret\n"
    return settings.model_dump(mode="json")


def _recipes(wanted: Wanted) -> str:
    settings = wanted.subject.settings
    if settings is None:
        return "left out: the settings do not hold\n"
    return "\n".join(
        f"# {station.id}: {station.recipe}\n{_recipe(station.recipe)}" for station in settings.stations
    )


def _recipe(file: Path) -> str:
    try:
        return load_recipe(file).text
    except BadFile as error:
        return f"left out: {error}\n"


def _doctor(wanted: Wanted) -> object:
    return [asdict(finding) for finding in wanted.findings]


def _storage(wanted: Wanted) -> object:
    settings = wanted.subject.settings
    if settings is None:
        return "left out: the settings do not hold\n"
    folder = Path(settings.device.data_dir)
    file = folder / database.FOLDER / database.FILE
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        "schema": database.revision_of(file),
        "database_bytes": file.stat().st_size if file.is_file() else None,
        "log_bytes": database.wal_bytes(file),
        "pictures": sum(1 for _ in (folder / "evidence").glob("*/*")),
        "entries": [entry.name for entry in entries],
    }


def _logs(wanted: Wanted) -> str:
    return wanted.logs()[-MOST_LOG_CHARACTERS:]


PARTS: Mapping[str, Collect] = {
    "versions.json": _versions,
    "schemas.json": _schemas,
    "settings.json": _settings,
    "recipes.txt": _recipes,
    "doctor.json": _doctor,
    "storage.json": _storage,
    "logs.txt": _logs,
}


def collect(wanted: Wanted, redact: Redactor) -> Iterator[tuple[str, str]]:
    """Each part's name and redacted text. A part that cannot be collected says why."""
    for name, part in PARTS.items():
        try:
            found = part(wanted)
        except Exception as error:  # noqa: BLE001 - the edge: a fault is what a bundle is made for
            found = f"could not be collected: {type(error).__name__}: {error}\n"
        if isinstance(found, str):
            yield name, redact(found)
        else:
            yield name, json.dumps(redact.tree(found), ensure_ascii=False, indent=2) + "\n"
