"""A scripted device on a real socket and a dashboard that follows it."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from lineside.dashboard.app import create_app
from lineside.dashboard.config import Address, DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.devices.fleet import Fleet
from lineside.dashboard.devices.memory import Contact

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
    )


@pytest.fixture
def follow() -> Iterator[Callable[..., Fleet]]:
    """Follows devices; stops when the test ends."""
    fleets: list[Fleet] = []

    def start(*devices: Any, silent_after_s: float = 1.0) -> Fleet:
        fleet = Fleet(config_for(*devices, silent_after_s=silent_after_s))
        fleets.append(fleet)
        fleet.open()
        for followed, real in zip(fleet.devices, devices, strict=True):
            if real._alive:
                wait_until(lambda f=followed: f.memory.view().contact is Contact.LIVE, "the device is live")
        return fleet

    yield start
    for fleet in fleets:
        fleet.close()


@pytest.fixture
def app_for(follow: Callable[..., Fleet]) -> Callable[..., Flask]:
    """The dashboard over devices."""

    def make_app(*devices: Any, silent_after_s: float = 1.0, **options: Any) -> Flask:
        fleet = follow(*devices, silent_after_s=silent_after_s)
        app = create_app(config_for(*devices, silent_after_s=silent_after_s), fleet, **options)
        app.testing = True
        return app

    return make_app


@pytest.fixture
def client_for(app_for: Callable[..., Flask]) -> Callable[..., FlaskClient]:
    """A browser without scripts."""
    return lambda *devices, **options: app_for(*devices, **options).test_client()


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
