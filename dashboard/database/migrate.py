"""Brings a database up to date. Every process calls it at its start; one does it, the others wait."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from lineside.dashboard.database import (
    alerting_tables,
    fleet_tables,
    people_tables,
    quality_tables,
    result_tables,
    rollout_tables,
    steering_tables,
)
from lineside.dashboard.database.base import Base
from lineside.dashboard.database.connection import Database, RefusedDatabase

ADVISORY_LOCK = 7_157_001
METADATA = Base.metadata
TABLES = (
    alerting_tables,
    fleet_tables,
    people_tables,
    quality_tables,
    result_tables,
    rollout_tables,
    steering_tables,
)
"""Imported so that the metadata is whole."""


def migrate(database: Database) -> None:
    """Creates the schema, or brings it to this release's.

    Raises:
        RefusedDatabase: it was made by a newer release; nothing was changed.
    """
    with database.statements() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        settings = config(connection)
        _refuse_newer(connection, settings)
        command.upgrade(settings, "head")


def config(connection: Connection) -> Config:
    """Alembic's configuration for the migrations beside this file."""
    settings = Config()
    settings.set_main_option("script_location", str(files("lineside.dashboard.database") / "migrations"))
    settings.attributes["connection"] = connection
    return settings


def _refuse_newer(connection: Connection, settings: Config) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        return
    try:
        ScriptDirectory.from_config(settings).get_revision(found)
    except (ResolutionError, CommandError):
        raise RefusedDatabase(
            f"the database has schema '{found}', which this release does not know: a newer one made it. "
            "Install that release, or give another --database"
        ) from None
