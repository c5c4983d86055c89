"""Counts by hour that pages read: gathered while a transaction stores results, added in the same one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Table

from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.result_tables import HourlyDefects, HourlyVerdicts

KEY = ("hour", "station_id", "shift", "recipe_id", "engine_id")


class Counts:
    """What one transaction adds to the hours."""

    def __init__(self) -> None:
        self._verdicts: Counter[tuple[Any, ...]] = Counter()
        self._defects: Counter[tuple[Any, ...]] = Counter()

    def add(self, row: Mapping[str, Any], defects: Iterable[str]) -> None:
        """Counts one result, given as the columns of `results`."""
        decided_at: datetime = row["decided_at"]
        hour = decided_at.replace(minute=0, second=0, microsecond=0)
        key = (hour, row["station_id"], row["shift"], row["recipe_id"], row["engine_id"])
        self._verdicts[*key, row["verdict"]] += 1
        for label in defects:
            self._defects[*key, label] += 1

    def write(self, database: Database, connection: Connection) -> None:
        """Adds what was gathered."""
        _add(database, connection, cast(Table, HourlyVerdicts.__table__), "verdict", self._verdicts)
        _add(database, connection, cast(Table, HourlyDefects.__table__), "label", self._defects)


def _add(
    database: Database, connection: Connection, table: Table, last: str, gathered: Counter[tuple[Any, ...]]
) -> None:
    if not gathered:
        return
    names = (*KEY, last)
    statement = database.insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=list(names), set_={"n": table.c.n + statement.excluded.n}
    )
    # In one order everywhere, so that two transactions never wait for each other in a ring.
    ordered = sorted(gathered.items(), key=lambda item: tuple(str(part) for part in item[0]))
    connection.execute(statement, [{**dict(zip(names, key, strict=True)), "n": n} for key, n in ordered])
