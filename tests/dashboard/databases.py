"""Real databases for tests: SQLite in a file, and a PostgreSQL server where its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from lineside.dashboard.database.connection import Database, read_url
from lineside.dashboard.database.migrate import migrate

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def program(name: str) -> str | None:
    """Where PostgreSQL's program of that name is; Debian keeps the server's outside the path."""
    return shutil.which(name) or next((str(p / name) for p in PROGRAMS[::-1] if (p / name).is_file()), None)


def missing() -> str:
    """Why no PostgreSQL can be started here; empty when one can."""
    if program("postgres") is None or program("initdb") is None:
        return "no PostgreSQL here (sudo apt install postgresql)"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "root may not run PostgreSQL, and there is no user 'postgres'"
        if shutil.which("setpriv") is None:
            return "root may not run PostgreSQL, and there is no setpriv"
    return ""


@contextmanager
def postgresql() -> Iterator[str]:
    """A server on a socket of its own, without durability; gives the address of its database `postgres`."""
    folder = Path(tempfile.mkdtemp(prefix="lineside-pg-"))
    before: list[str] = []
    user = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        before = ["setpriv", "--reuid=postgres", f"--regid={owner.pw_gid}", "--clear-groups"]
        user = "postgres"
    data = str(folder / "data")
    locale = {**os.environ, "LC_ALL": "C.UTF-8"}
    make = [*before, str(program("initdb")), "-D", data, "-A", "trust", "-U", user, "--no-sync", "-E", "UTF8"]
    subprocess.run(make, check=True, capture_output=True, cwd="/", env=locale)
    settings = ["listen_addresses=", "fsync=off", "full_page_writes=off", "synchronous_commit=off"]
    options = [word for setting in settings for word in ("-c", setting)]
    serve = [*before, str(program("postgres")), "-D", data, "-k", str(folder), *options]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(serve, stdout=log, stderr=log, cwd="/")
    url = f"postgresql://{user}@/postgres?host={folder}"
    try:
        _wait(url, server)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # ends without waiting for those still connected
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    engine = create_engine(read_url(url))
    deadline = time.monotonic() + 60
    while True:
        assert server.poll() is None, "PostgreSQL did not start"
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            engine.dispose()
            return
        except Exception:
            assert time.monotonic() < deadline, "PostgreSQL did not answer within 60 s"
            time.sleep(0.1)


class Postgres:
    """Makes databases on a running server, each a copy of one that was migrated once."""

    def __init__(self, url: str) -> None:
        self._url = read_url(url)
        self._admin = create_engine(self._url, isolation_level="AUTOCOMMIT")
        self._made = 0
        template = self.empty()
        database = Database(template)
        migrate(database)
        database.close()
        self._template = template.database

    def _run(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))

    def empty(self):
        """The address of a new database without tables."""
        self._made += 1
        name = f"made_{self._made}"
        self._run(f"CREATE DATABASE {name}")
        return self._url.set(database=name)

    def migrated(self):
        """The address of a new database with the tables."""
        self._made += 1
        name = f"made_{self._made}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self._url.set(database=name)

    def close(self) -> None:
        self._admin.dispose()


class Files:
    """Makes SQLite files, each a copy of one that was migrated once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        template = self.empty()
        database = Database(template)
        migrate(database)
        database.close()
        self._template = Path(str(template.database))

    def empty(self):
        """The address of a file that does not exist yet."""
        self._made += 1
        return read_url(f"sqlite:///{self._folder / f'made-{self._made}.db'}")

    def migrated(self):
        """The address of a file with the tables."""
        url = self.empty()
        shutil.copyfile(self._template, str(url.database))
        return url
