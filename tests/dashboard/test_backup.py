"""A backup is one moment of the whole database, in one file, and comes back into either kind of it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from lineside.dashboard.backup import LEFT_OUT, RefusedBackup, back_up, restore
from lineside.dashboard.commands import dashboard
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.migrate import METADATA
from lineside.dashboard.database.people_tables import Session, User
from lineside.dashboard.database.quality_tables import GoldenPicture
from lineside.dashboard.database.result_tables import Result
from lineside.dashboard.people import accounts, audit, sessions
from lineside.dashboard.people.rights import Role

NOON = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def lived_in(device: Any, make: ModuleType, follow: Callable[..., Any], database: Database) -> Database:
    """A database with results that came from a device, people, a picture and an audit."""
    for n in range(1, 30):
        device.store(make.inspection(n, make.NOT_OK if n % 5 == 0 else make.OK, label="cracked"))
    follow(device, database=database).stop()
    with database.writing() as session:
        user = accounts.add(session, "änne", Role.ADMIN, "a fine long sentence", by="test", at=NOON)
        accounts.set_line_right(session, user, ("Nord", "Filling", "Line 2"), None, by="test", at=NOON)
        sessions.begin(session, user, "test", NOON)
        session.add(
            GoldenPicture(
                evidence_id="a" * 64, media_type="image/png", width=1, height=1, data=bytes(range(256))
            )
        )
    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database to restore into, of each kind."""
    maker = request.getfixturevalue({"sqlite": "sqlite_files", "postgresql": "postgres"}[request.param])
    made = Database(maker.migrated())
    yield made
    made.close()


def contents(database: Database) -> dict[str, list[Any]]:
    found = {}
    with database.engine.connect() as connection:
        for table in METADATA.sorted_tables:
            if table.name not in LEFT_OUT:
                rows = connection.execute(select(table).order_by(*table.primary_key.columns))
                found[table.name] = [tuple(row) for row in rows]
    return found


def test_what_was_backed_up_comes_back_into_either_kind_of_database(
    lived_in: Database, other: Database, tmp_path: Path
) -> None:
    file = tmp_path / "monday.zip"
    counts = back_up(lived_in, file, NOON)
    assert (counts["results"], counts["users"], counts["golden_pictures"]) == (29, 1, 1)
    assert file.stat().st_mode & 0o077 == 0, "password hashes are for their owner alone"
    assert restore(other, file) == counts
    assert contents(other) == contents(lived_in)
    with other.writing() as session:
        assert audit.verify(session).broken_at is None
        assert session.scalars(select(Session)).all() == [], "nobody is signed in by a restore"
        # What is new gets an id after those that came back.
        session.add(Device(device="edge-99", address="b:1", found_by="mqtt"))
        accounts.add(session, "ben", Role.VIEWER, None, by="test", at=NOON)
    with other.reading() as session:
        assert session.scalar(select(func.max(User.id))) == 2
        assert session.scalar(select(func.count()).select_from(Result)) == 29


def test_a_backup_is_one_moment_while_everything_goes_on(
    lived_in: Database,
    another: Callable[[Database], Database],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer, written = another(lived_in), []
    real = zipfile.ZipFile.open

    def write_meanwhile(self: Any, name: Any, mode: str = "r", **more: Any) -> Any:
        if mode == "w" and "users" in str(name):
            with writer.writing() as session:
                written.append(accounts.add(session, "late", Role.VIEWER, None, by="test", at=NOON).name)
        return real(self, name, mode, **more)

    monkeypatch.setattr(zipfile.ZipFile, "open", write_meanwhile)
    counts = back_up(lived_in, tmp_path / "backup.zip", NOON)
    assert written == ["late"]
    assert (counts["users"], counts["audit"]) == (1, 2)


def altered(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def test_a_backup_that_is_not_what_was_made_is_refused_and_leaves_nothing(
    lived_in: Database, sqlite_files: Any, tmp_path: Path
) -> None:
    good = tmp_path / "good.zip"
    back_up(lived_in, good, NOON)

    def other_schema(name: str, data: bytes) -> bytes:
        return (
            json.dumps({**json.loads(data), "schema": "9999"}).encode() if name == "manifest.json" else data
        )

    def richer(name: str, data: bytes) -> bytes:
        return data.replace(b'"admin"', b'"viewer"') if name == "tables/users.jsonl" else data

    def shorter(name: str, data: bytes) -> bytes:
        return data[: len(data) // 2] if name == "tables/results.jsonl" else data

    text = tmp_path / "text.zip"
    text.write_text("no zip")
    target = Database(sqlite_files.migrated())
    before = contents(target)
    for file, why in (
        (altered(good, tmp_path / "a.zip", other_schema), "schema 9999"),
        (altered(good, tmp_path / "b.zip", richer), "altered"),
        (altered(good, tmp_path / "c.zip", shorter), "damaged"),
        (text, "no backup"),
        (tmp_path / "none.zip", "cannot be read"),
    ):
        with pytest.raises(RefusedBackup, match=why):
            restore(target, file)
        assert contents(target) == before
    target.close()
    with pytest.raises(RefusedBackup, match="not empty"):
        restore(lived_in, good)
    with pytest.raises(RefusedBackup, match="never overwritten"):
        back_up(lived_in, good, NOON)
    with pytest.raises(RefusedBackup, match="cannot be written"):
        back_up(lived_in, tmp_path / "no" / "folder.zip", NOON)


def test_one_command_each(sqlite_files: Any, tmp_path: Path) -> None:
    runner = CliRunner()
    first, second = (f"sqlite:///{sqlite_files.migrated().database}" for _ in range(2))
    file = str(tmp_path / "backup.zip")
    made = runner.invoke(dashboard, ["--database", first, "backup", file])
    assert made.exit_code == 0, made.output
    assert "keys" in made.output
    back = runner.invoke(dashboard, ["--database", second, "restore", file])
    assert back.exit_code == 0, back.output
    assert "whole" in back.output
    again = runner.invoke(dashboard, ["--database", second, "backup", file])
    assert (again.exit_code, "never overwritten" in again.output) == (3, True)
