"""The database file: its connections, its pragmas, its migrations, and what happens when it is damaged.

It knows no statement about results.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool

from lineside.daemon.store import schema
from lineside.daemon.store.durable import sync_folder
from lineside.daemon.store.errors import NewerDatabase, StoreError

FOLDER = "database"
"""The database lies in a folder of its own, so that it is set aside with its log by one atomic rename."""
FILE = "results.sqlite"
MIGRATIONS = Path(__file__).parent / "migrations"
CHECK_WHOLE_BELOW_BYTES = 256 * 2**20
"""A file up to this size is checked page by page at each start; a larger one by `audit verify` only."""
WAL_LIMIT_BYTES = 32 * 2**20
BUSY_TIMEOUT_MS = 10_000
READERS = 32
"""Read connections at once, at most; another reader waits for one."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def writer_engine(file: Path) -> Engine:
    """The engine of the one write connection: every transaction takes the write lock at once."""
    return _engine(file, pool_size=1, overflow=0, begin="BEGIN IMMEDIATE", read_only=False)


def reader_engine(file: Path) -> Engine:
    """The engine of read connections: each transaction is one snapshot and never blocks the writer."""
    return _engine(file, pool_size=4, overflow=READERS - 4, begin="BEGIN", read_only=True)


def _engine(file: Path, *, pool_size: int, overflow: int, begin: str, read_only: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=overflow,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # SQLAlchemy says when a transaction begins (below); sqlite3's own guesses are switched off.
        connection.isolation_level = None
        set_pragmas(connection, read_only=read_only)

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def set_pragmas(connection: sqlite3.Connection, *, read_only: bool) -> None:
    """Durability and limits of one connection."""
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")


def checkpoint(engine: Engine) -> bool:
    """Moves the whole log into the database and empties it; False when a reader still needed the log."""
    pooled = engine.raw_connection()
    try:
        cursor = pooled.cursor()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        row = cursor.fetchone()
        return row is not None and row[0] == 0
    finally:
        pooled.close()


def wal_bytes(file: Path) -> int:
    """The size of the write-ahead log now."""
    try:
        return file.with_name(file.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def damage_of(file: Path) -> str | None:
    """Why the database file cannot be trusted; None when it can, or when there is none.

    Raises:
        sqlite3.OperationalError: the file cannot be read at all now (a disk error, missing rights).
    """
    if not file.exists():
        return None
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if file.stat().st_size > CHECK_WHOLE_BELOW_BYTES:
                return None
            found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in _DAMAGED:
            raise
        return str(error)
    return None if found == ["ok"] else "; ".join(found)


def set_aside(folder: Path, now: datetime) -> Path:
    """Renames the damaged database's folder, log and all; nothing is deleted. Gives the new folder."""
    stamp = now.strftime("%Y%m%dT%H%M%S.%fZ")
    aside = folder.with_name(f"{folder.name}.damaged-{stamp}")
    folder.rename(aside)
    sync_folder(folder.parent)
    return aside


def migrate(
    engine: Engine,
    file: Path,
    *,
    chain_starts_after: int,
    scripts: Path = MIGRATIONS,
    head: str = schema.HEAD_REVISION,
) -> bool:
    """Brings the database to this release's schema; True when it was created now.

    A database that holds something is copied beside itself first. A new one notes after which
    sequence its chain starts, in the same transaction.

    Raises:
        NewerDatabase: a newer release wrote it; it is left untouched.
        StoreError: the file is a database, but not a store.
    """
    found = revision_of(file)
    if found == head:
        return False
    # Alembic is loaded only when there is something to migrate: it doubles the start time.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise NewerDatabase(
            f"{file} was written by a newer release (schema {found}, this release knows up to "
            f"{head}): install that release again, or move the folder away to start afresh"
        )
    if found is not None:
        _back_up(file, found)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, head)
        if found is None:
            start = {"key": "chain.starts_after", "value": str(chain_starts_after)}
            connection.execute(schema.device_state.insert().values(start))
    return found is None


def revision_of(file: Path) -> str | None:
    """The schema revision of a database file; None for an empty or absent one.

    Raises:
        StoreError: it has tables, but no revision.
    """
    if not file.exists():
        return None
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise StoreError(f"{file} is a database, but not a store of this software: move it away")
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])


def _back_up(file: Path, revision: str) -> None:
    copy = file.with_name(f"{file.name}.before-{revision}")
    part = copy.with_name(copy.name + ".part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(part)) as target:
        target.execute("PRAGMA synchronous = FULL")
        source.backup(target)
    part.rename(copy)
    sync_folder(copy.parent)
