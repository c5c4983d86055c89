"""Opening the database: SQLite in one file, or PostgreSQL. The one place that knows which of them it is.

Reading and writing are asked for by name, because SQLite has one writer: a transaction that will write
says so at its start and waits its turn, instead of failing half-way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

BUSY_TIMEOUT_S = 15
POOL = 8
WRITING = "lineside_writing"


class RefusedDatabase(ValueError):
    """A database that the dashboard will not use; the message says why and what to do."""


def read_url(words: str) -> URL:
    """`sqlite:///file` or `postgresql://user@host/name`; the driver is ours to choose.

    Raises:
        RefusedDatabase: neither of them, or a password in plain sight (command lines are readable by others).
    """
    try:
        url = make_url(words)
    except ArgumentError:
        raise RefusedDatabase("the database must be sqlite:///FILE or postgresql://USER@HOST/NAME") from None
    kind = url.get_backend_name()
    if kind == "sqlite":
        if not url.database or url.database == ":memory:":
            raise RefusedDatabase("a database in memory is not kept: give sqlite:///FILE")
        return url.set(drivername="sqlite+pysqlite")
    if kind == "postgresql":
        if url.password is not None:
            raise RefusedDatabase(
                "no password in the database's address, where others can read it: "
                "put it into ~/.pgpass (or PGPASSFILE), or use a socket with peer authentication"
            )
        return url.set(drivername="postgresql+psycopg")
    raise RefusedDatabase(f"'{kind}' is not supported: use sqlite:///FILE or postgresql://USER@HOST/NAME")


class Database:
    """An opened database. Thread-safe; made after a fork, never carried across one."""

    def __init__(self, url: URL, *, pool: int = POOL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.engine = _sqlite(url) if self.is_sqlite else _postgresql(url, pool)
        self._writer = self.engine.execution_options(**{WRITING: True})

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session on one consistent picture; nothing it changes is kept."""
        with Session(self.engine, autoflush=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes are kept together when the block ends, or not at all."""
        with Session(self._writer) as session, session.begin():
            yield session

    @contextmanager
    def statements(self) -> Iterator[Connection]:
        """As `writing`, for plain statements without objects."""
        with self._writer.begin() as connection:
            yield connection

    def insert(self, table: Table) -> Any:
        """An INSERT of this database's own kind, which can say what to do about a row that exists."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)


def _sqlite(url: URL) -> Engine:
    path = Path(url.database or "")
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-32000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: URL, pool: int) -> Engine:
    try:
        return create_engine(
            url, pool_size=pool, max_overflow=pool, pool_pre_ping=True, connect_args={"connect_timeout": 10}
        )
    except ModuleNotFoundError:
        raise RefusedDatabase("PostgreSQL needs its driver: pip install 'lineside[postgresql]'") from None
