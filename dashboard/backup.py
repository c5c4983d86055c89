"""`lineside dashboard backup` and `restore`: the whole database in one file, from and into either kind.

A zip with one `tables/NAME.jsonl` for each table and a `manifest.json` with the schema, the rows and the
sha256 of each. It is read in one transaction, so it is one moment's picture while everything goes on. Not in
it: keys and certificates, secrets of alert channels, and pictures, which devices hold. Password hashes are:
keep the file as one keeps the database.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Date, LargeBinary, Table, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from lineside.dashboard.database.base import UtcTime
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.migrate import METADATA

FORMAT = 1
MANIFEST = "manifest.json"
BATCH = 1000
LEFT_OUT = frozenset({"sessions", "sign_in_links", "sign_in_attempts", "leases"})
"""What is of the moment: a restored dashboard lets nobody in by an old cookie or link."""
MADE_BY_MIGRATION = frozenset({"roles", "audit_head"})
"""What a new database has rows of already; they are replaced."""


class RefusedBackup(ValueError):
    """A backup that cannot be made or restored; the message says why and what to do. Nothing was changed."""


def back_up(database: Database, path: Path, at: datetime) -> dict[str, int]:
    """Writes the backup; gives how many rows of which table. The file is there whole or not at all.

    Raises:
        RefusedBackup: there is a file already, or it cannot be written.
    """
    if path.exists():
        raise RefusedBackup(f"{path} exists already: a backup is never overwritten")
    beside = path.with_name(f".{path.name}.part")
    counts: dict[str, int] = {}
    try:
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w+b") as file:
            with (
                zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
                _one_moment(database) as reading,
            ):
                digests: dict[str, str] = {}
                for table in _tables():
                    counts[table.name], digests[table.name] = _write(reading, table, archive)
                told = {
                    "format": FORMAT,
                    "schema": MigrationContext.configure(reading).get_current_revision(),
                    "made_at": at.astimezone(UTC).isoformat(),
                    "rows": counts,
                    "sha256": digests,
                }
                archive.writestr(MANIFEST, json.dumps(told, indent=1))
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except OSError as error:
        raise RefusedBackup(f"{path} cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
    return counts


def restore(database: Database, path: Path) -> dict[str, int]:
    """Fills an empty database with a backup; gives how many rows of which table. All of it, or nothing.

    Raises:
        RefusedBackup: the file is none or was altered, is of another schema, or the database is not empty.
    """
    try:
        with zipfile.ZipFile(path) as archive, database.statements() as connection:
            manifest = _manifest(archive)
            _must_fit(connection, manifest)
            counts = {}
            for table in _tables():
                if table.name in MADE_BY_MIGRATION:
                    connection.execute(table.delete())
                counts[table.name] = _fill(connection, table, archive, manifest)
            if not database.is_sqlite:
                _count_on(connection)
            return counts
    except OSError as error:
        raise RefusedBackup(f"{path} cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        if isinstance(error, RefusedBackup):
            raise
        raise RefusedBackup(f"{path} is no backup, or is damaged: {error}") from None
    except SQLAlchemyError as error:
        raise RefusedBackup(f"the database does not take it: {str(error).splitlines()[0]}") from None


def _tables() -> list[Table]:
    return [table for table in METADATA.sorted_tables if table.name not in LEFT_OUT]


def _one_moment(database: Database) -> Connection:
    """A connection whose reads all see the same moment; SQLite's transactions are that by themselves."""
    connection = database.engine.connect()
    if not database.is_sqlite:
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return connection


def _write(reading: Connection, table: Table, archive: zipfile.ZipFile) -> tuple[int, str]:
    order = list(table.primary_key.columns)
    n, digest = 0, hashlib.sha256()
    rows = reading.execution_options(yield_per=BATCH).execute(select(table).order_by(*order))
    with archive.open(f"tables/{table.name}.jsonl", "w", force_zip64=True) as out:
        for row in rows.mappings():
            line = json.dumps(
                {c.name: _told(row[c.name]) for c in table.columns}, ensure_ascii=False
            ).encode()
            digest.update(line + b"\n")
            out.write(line + b"\n")
            n += 1
    return n, digest.hexdigest()


def _told(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime | date) else value


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
    if manifest["format"] != FORMAT:
        raise RefusedBackup(f"it has format {manifest['format']}, and this release reads {FORMAT}")
    return manifest


def _must_fit(connection: Connection, manifest: dict[str, Any]) -> None:
    here = MigrationContext.configure(connection).get_current_revision()
    if manifest["schema"] != here:
        raise RefusedBackup(
            f"it has schema {manifest['schema']}, and this release {here}: restore it with the release that "
            "made it, then bring that database up to date"
        )
    for table in METADATA.sorted_tables:
        if table.name not in MADE_BY_MIGRATION and connection.execute(select(table).limit(1)).first():
            raise RefusedBackup(
                f"the database is not empty ('{table.name}' has rows): name a new one with --database, "
                "and stop what uses it"
            )


def _fill(connection: Connection, table: Table, archive: zipfile.ZipFile, manifest: dict[str, Any]) -> int:
    n, digest = 0, hashlib.sha256()
    batch: list[dict[str, Any]] = []
    for line in _lines(archive, table.name):
        digest.update(line)
        row = json.loads(line)
        batch.append({c.name: _read(c.type, row[c.name]) for c in table.columns})
        n += 1
        if len(batch) == BATCH:
            connection.execute(table.insert(), batch)
            batch = []
    if batch:
        connection.execute(table.insert(), batch)
    if (n, digest.hexdigest()) != (manifest["rows"][table.name], manifest["sha256"][table.name]):
        raise RefusedBackup(f"its table '{table.name}' is not what was backed up: it was altered or damaged")
    return n


def _lines(archive: zipfile.ZipFile, table: str) -> Iterator[bytes]:
    with archive.open(f"tables/{table}.jsonl") as file:
        yield from file


def _read(kind: object, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, UtcTime):
        return datetime.fromisoformat(value)
    if isinstance(kind, Date):
        return date.fromisoformat(value)
    return base64.b64decode(value) if isinstance(kind, LargeBinary) else value


def _count_on(connection: Connection) -> None:
    """PostgreSQL's counters go on after the ids that were put in."""
    for table in _tables():
        column = table.autoincrement_column
        if column is None:
            continue
        name = connection.scalar(
            text("SELECT pg_get_serial_sequence(:table, :column)"),
            {"table": table.name, "column": column.name},
        )
        last = connection.scalar(select(func.max(column)))
        if name is not None and last is not None:
            connection.execute(text("SELECT setval(:name, :last)"), {"name": name, "last": last})
