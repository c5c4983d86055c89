"""One schema for SQLite and PostgreSQL: made by migrations alone, used by several processes, kept whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, StatementError

from lineside.dashboard.database.connection import Database, RefusedDatabase, read_url
from lineside.dashboard.database.fleet_tables import Device, Lease
from lineside.dashboard.database.migrate import METADATA, migrate
from lineside.dashboard.database.people_tables import Audit, AuditHead, RoleRow

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_migrations_make_exactly_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_migrating_again_and_from_two_processes_at_once_changes_nothing(empty_database_url: Any) -> None:
    databases = [Database(empty_database_url) for _ in range(2)]
    failures: list[BaseException] = []

    def run(one: Database) -> None:
        try:
            migrate(one)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    migrate(databases[0])
    assert failures == []
    with databases[1].reading() as session:
        assert session.scalars(select(RoleRow.role).order_by(RoleRow.rank)).all() == [
            "viewer",
            "reviewer",
            "engineer",
            "admin",
        ]
        assert session.scalars(select(AuditHead.last_id)).all() == [0]
    for one in databases:
        one.close()


def test_a_newer_schema_is_refused_and_left_alone(database: Database) -> None:
    with database.statements() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RefusedDatabase, match="newer"):
        migrate(database)
    with database.reading() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_times_come_back_as_the_moment_they_were(database: Database) -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    with database.writing() as session:
        session.add(Lease(name="x", holder="a", until=elsewhere))
    with database.reading() as session:
        until = session.scalars(select(Lease.until)).one()
    assert (until, until.utcoffset()) == (NOON, timedelta(0))
    with pytest.raises(StatementError, match="without a zone"), database.writing() as session:
        session.add(Lease(name="y", holder="a", until=datetime(2026, 1, 1)))


def test_the_audit_is_only_added_to(database: Database) -> None:
    row = {
        "at": NOON,
        "who": "ana",
        "action": "a",
        "subject": "s",
        "detail": {},
        "prev_hash": "",
        "row_hash": "",
    }
    with database.writing() as session:
        session.add(Audit(id=1, **row))
    for statement in (update(Audit).values(who="eve"), text("DELETE FROM audit")):
        with pytest.raises(DBAPIError, match="only added to"), database.writing() as session:
            session.execute(statement)


def test_writers_of_two_processes_wait_for_each_other(
    database: Database, another: Callable[[Database], Database]
) -> None:
    other = another(database)
    with database.writing() as session:
        session.add(Device(device="n", address="n:1", found_by="configured", last_sequence=0))

    def add(one: Database) -> None:
        for _ in range(20):
            with one.writing() as session:
                row = session.scalars(select(Device).with_for_update()).one()
                row.last_sequence += 1

    threads = [threading.Thread(target=add, args=(one,)) for one in (database, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        assert session.scalars(select(Device.last_sequence)).one() == 40


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("sqlite://", "memory"),
        ("sqlite:///:memory:", "memory"),
        ("mysql://h/d", "not supported"),
        ("postgresql://u:secret@h/d", "pgpass"),
        ("what", "must be"),
    ],
)
def test_what_is_no_database_for_us_is_refused_with_the_way_out(words: str, why: str) -> None:
    with pytest.raises(RefusedDatabase, match=why):
        read_url(words)
