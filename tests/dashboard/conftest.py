"""A scripted device on a real socket and a dashboard that follows it."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from lineside.dashboard.app import create_app
from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import Address, DashboardConfig
from lineside.dashboard.current import EXTENSION
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.result_tables import Result
from lineside.dashboard.ingest.owner import Owner
from lineside.dashboard.people import accounts, sessions
from lineside.dashboard.people.guard import COOKIE
from lineside.dashboard.people.rights import Role
from lineside.dashboard.reading.devices import DeviceBook
from lineside.dashboard.reading.views import Contact

PATIENCE_S = 40.0


def load_beside(name: str) -> ModuleType:
    """A plain module of this folder: test folders are no packages."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


scripted = load_beside("scripted_device")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition as long as a loaded machine may need."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s in vain until {what}"
        time.sleep(0.05)


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[[Callable[[], bool], str], None]:
    return wait_until


@pytest.fixture
def make() -> ModuleType:
    """The module that makes inspections and devices."""
    return scripted


@pytest.fixture
def beside() -> Callable[[str], ModuleType]:
    """A plain module of this folder, by its name."""
    return load_beside


@pytest.fixture
def simulated() -> ModuleType:
    """The module that plays a fleet with engines and recipes."""
    return load_beside("simulated_fleet")


@pytest.fixture
def device() -> Iterator[Any]:
    """A running device; `stop` and `start` it as the test wants."""
    made = scripted.ScriptedDevice()
    made.start()
    yield made
    made.stop()


def config_for(*devices: Any, silent_after_s: float = 1.0) -> DashboardConfig:
    return DashboardConfig(
        devices=tuple(Address("127.0.0.1", d.port) for d in devices),
        timezone=UTC,
        silent_after_s=silent_after_s,
        probe_every_s=0.2,
        sample_ok=0.0,
    )


class Followed:
    """A database that a follower fills, in a thread of this process; `stop` ends it as a stop would."""

    def __init__(self, database: Database, config: DashboardConfig) -> None:
        self.database, self.config = database, config
        self.book = DeviceBook(database, config, utc_now)
        self._stopping = threading.Event()
        owner = Owner(database, config)
        self._thread = threading.Thread(target=owner.run, args=(self._stopping,), name="owner-under-test")
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def contact(self, device: str) -> Contact:
        with self.database.reading() as session:
            row = self.book.find(session, device)
            return self.book.view(session, row).contact if row is not None else Contact.NEVER

    def sequences(self, device: str = "edge-07", history: int = 1) -> list[int]:
        """What is stored of a device, in the order of storing."""
        with self.database.reading() as session:
            found = select(Result.sequence).join(Device, Device.id == Result.device_id)
            wanted = found.where(Device.device == device, Result.history == history).order_by(Result.id)
            return list(session.scalars(wanted))


@pytest.fixture
def follow(sqlite_files: Any) -> Iterator[Callable[..., Followed]]:
    """Follows devices; stops when the test ends."""
    made: list[Followed] = []

    def start(*devices: Any, silent_after_s: float = 1.0, database: Database | None = None) -> Followed:
        database = database or Database(sqlite_files.migrated())
        followed = Followed(database, config_for(*devices, silent_after_s=silent_after_s))
        made.append(followed)
        for real in devices:
            if real._alive:
                last = real._stored[-1].sequence if real._stored else 0
                wait_until(lambda r=real: followed.contact(r.device_id) is Contact.LIVE, "the device is live")
                wait_until(
                    lambda r=real, n=last: (followed.sequences(r.device_id) or [0])[-1] >= n,
                    "its results came",
                )
        return followed

    yield start
    for followed in made:
        followed.stop()
        followed.database.close()


def signed_in(app: Flask, role: Role | None = Role.ADMIN, name: str = "ana") -> str:
    """The token of a new session of a user, who is made."""
    surroundings = app.extensions[EXTENSION]
    at = surroundings.now()
    with surroundings.database.writing() as session:
        user = accounts.find(session, name) or accounts.add(session, name, role, None, by="test", at=at)
        return sessions.begin(session, user, "127.0.0.1", at)


@pytest.fixture
def app_for(follow: Callable[..., Followed]) -> Callable[..., Flask]:
    """The dashboard over devices that are followed."""

    def make_app(*devices: Any, silent_after_s: float = 1.0, **options: Any) -> Flask:
        followed = follow(*devices, silent_after_s=silent_after_s)
        app = create_app(followed.config, followed.database, **options)
        app.testing = True
        return app

    return make_app


@pytest.fixture
def client_of() -> Callable[..., FlaskClient]:
    """A browser without scripts, signed in."""

    def make_client(app: Flask, role: Role | None = Role.ADMIN, name: str = "ana") -> FlaskClient:
        client = app.test_client()
        client.set_cookie(COOKIE, signed_in(app, role, name))
        return client

    return make_client


@pytest.fixture
def client_for(
    app_for: Callable[..., Flask], client_of: Callable[..., FlaskClient]
) -> Callable[..., FlaskClient]:
    """As `client_of`, over devices."""
    return lambda *devices, **options: client_of(app_for(*devices, **options))


databases = load_beside("databases")


@pytest.fixture(scope="session")
def sqlite_files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return databases.Files(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    why = databases.missing()
    if why:
        pytest.skip(why)
    with databases.postgresql() as url:
        made = databases.Postgres(url)
        yield made
        made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def maker(request: pytest.FixtureRequest) -> Any:
    """Makes databases: each test that asks runs on both kinds."""
    return request.getfixturevalue({"sqlite": "sqlite_files", "postgresql": "postgres"}[request.param])


@pytest.fixture
def empty_database_url(maker: Any) -> Any:
    return maker.empty()


@pytest.fixture
def another() -> Iterator[Callable[[Database], Database]]:
    """Opens a database once more, as another process would."""
    made: list[Database] = []

    def open_again(database: Database) -> Database:
        made.append(Database(database.url))
        return made[-1]

    yield open_again
    for database in made:
        database.close()


@pytest.fixture
def database(maker: Any) -> Iterator[Database]:
    """A database with its tables, of each kind."""
    made = Database(maker.migrated())
    yield made
    made.close()


@pytest.fixture
def sqlite_database(sqlite_files: Any) -> Iterator[Database]:
    """A SQLite database with its tables, for what is the same on both kinds."""
    made = Database(sqlite_files.migrated())
    yield made
    made.close()
