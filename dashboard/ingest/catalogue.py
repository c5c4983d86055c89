"""Ids of stations, recipe versions and engine versions, made at the first mention and remembered. Bounded."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Table, select

from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Station
from lineside.dashboard.database.result_tables import EngineVersion, RecipeVersion
from lineside.dashboard.devices.values import Engine, Recipe

KEPT = 20_000


class Catalogue:
    """Names to row ids. Used by one thread; `forget` after a transaction that was undone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: dict[tuple[object, ...], int] = {}

    def forget(self) -> None:
        """Asks the database anew from here on."""
        self._ids.clear()

    def station(self, connection: Connection, device_id: int, station: str) -> int:
        """The row of a device's station."""
        table = cast(Table, Station.__table__)
        defaults = {
            "listed": False,
            "cameras": [],
            "recipe": {},
            "ready": False,
            "not_ready_because": [],
            "pending": 0,
            "waiting": 0,
            "strip": "",
            "last_sequence": 0,
            "last_result_id": "",
            "recent_bad": [],
        }
        return self._id(connection, table, {"device_id": device_id, "station": station}, defaults)

    def recipe(self, connection: Connection, recipe: Recipe, at: datetime) -> int:
        """The row of a recipe version."""
        key = {"name": recipe.name, "version": recipe.version, "hash": recipe.hash}
        return self._id(connection, cast(Table, RecipeVersion.__table__), key, {"first_seen_at": at})

    def engine(self, connection: Connection, engine: Engine, at: datetime) -> int:
        """The row of an engine version."""
        key = {
            "name": engine.name,
            "version": engine.version,
            "digest": engine.digest,
            "runtime": engine.runtime,
        }
        return self._id(connection, cast(Table, EngineVersion.__table__), key, {"first_seen_at": at})

    def _id(self, connection: Connection, table: Table, key: dict[str, Any], rest: dict[str, Any]) -> int:
        remembered = (table.name, *key.values())
        if remembered in self._ids:
            return self._ids[remembered]
        match = [table.c[name] == value for name, value in key.items()]
        found = connection.scalar(select(table.c.id).where(*match))
        if found is None:
            made = self._database.insert(table).on_conflict_do_nothing(index_elements=list(key))
            connection.execute(made, {**key, **rest})
            found = connection.scalar(select(table.c.id).where(*match))
        if len(self._ids) >= KEPT:
            self._ids.clear()
        self._ids[remembered] = cast(int, found)
        return self._ids[remembered]
