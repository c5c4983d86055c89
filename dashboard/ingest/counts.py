"""Counts that pages read: gathered while a transaction stores results, added in the same one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, cast

from sqlalchemy import Connection, Table, case, update

from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Station
from lineside.dashboard.database.quality_tables import LotVerdicts, ShiftDefects, ShiftVerdicts
from lineside.dashboard.database.result_tables import HourlyDefects, HourlyVerdicts

VERSIONED = ("station_id", "shift", "recipe_id", "engine_id")


class Counts:
    """What one transaction adds to the hours, the shifts, the lots, and to what waits for a person."""

    def __init__(self) -> None:
        self._hours: Counter[tuple[Any, ...]] = Counter()
        self._hourly_defects: Counter[tuple[Any, ...]] = Counter()
        self._shifts: Counter[tuple[Any, ...]] = Counter()
        self._shift_defects: Counter[tuple[Any, ...]] = Counter()
        self._lots: Counter[tuple[Any, ...]] = Counter()
        self._lot_times: dict[tuple[Any, ...], tuple[datetime, datetime]] = {}
        self._waiting: Counter[int] = Counter()

    def add(self, row: Mapping[str, Any], defects: Iterable[str]) -> None:
        """Counts one result, given as the columns of `results`."""
        decided_at: datetime = row["decided_at"]
        hour = decided_at.replace(minute=0, second=0, microsecond=0)
        day = date.fromisoformat(row["shift"][:10])
        versioned = tuple(row[name] for name in VERSIONED)
        self._hours[hour, *versioned, row["verdict"]] += 1
        self._shifts[day, *versioned, row["verdict"]] += 1
        for label in defects:
            self._hourly_defects[hour, *versioned, label] += 1
            self._shift_defects[day, row["shift"], row["station_id"], label] += 1
        if row["lot"]:
            lot = (row["lot"], row["station_id"], row["verdict"])
            first, last = self._lot_times.get(lot, (decided_at, decided_at))
            self._lot_times[lot] = min(first, decided_at), max(last, decided_at)
            self._lots[lot] += 1
        if row["review"] == "waiting":
            self._waiting[row["station_id"]] += 1

    def write(self, database: Database, connection: Connection) -> None:
        """Adds what was gathered."""
        for table, names, gathered in (
            (HourlyVerdicts, ("hour", *VERSIONED, "verdict"), self._hours),
            (HourlyDefects, ("hour", *VERSIONED, "label"), self._hourly_defects),
            (ShiftVerdicts, ("day", *VERSIONED, "verdict"), self._shifts),
            (ShiftDefects, ("day", "shift", "station_id", "label"), self._shift_defects),
        ):
            add(database, connection, cast(Table, table.__table__), names, gathered)
        self._write_lots(database, connection)
        for station, n in sorted(self._waiting.items()):
            connection.execute(
                update(Station).where(Station.id == station).values(waiting=Station.waiting + n)
            )

    def _write_lots(self, database: Database, connection: Connection) -> None:
        if not self._lots:
            return
        table = cast(Table, LotVerdicts.__table__)
        names = ("lot", "station_id", "verdict")
        statement = database.insert(table)
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=list(names),
            set_={
                "n": table.c.n + new.n,
                "first_at": case((new.first_at < table.c.first_at, new.first_at), else_=table.c.first_at),
                "last_at": case((new.last_at > table.c.last_at, new.last_at), else_=table.c.last_at),
            },
        )
        rows = [
            {
                **dict(zip(names, key, strict=True)),
                "n": n,
                "first_at": self._lot_times[key][0],
                "last_at": self._lot_times[key][1],
            }
            for key, n in sorted(self._lots.items())
        ]
        connection.execute(statement, rows)


def add(
    database: Database,
    connection: Connection,
    table: Table,
    names: tuple[str, ...],
    gathered: Mapping[tuple[Any, ...], int],
) -> None:
    """Adds to the `n` of a table of counts; `names` are the columns of its key, in the keys' order."""
    if not gathered:
        return
    statement = database.insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=list(names), set_={"n": table.c.n + statement.excluded.n}
    )
    # In one order everywhere, so that two transactions never wait for each other in a ring.
    ordered = sorted(gathered.items(), key=lambda item: tuple(str(part) for part in item[0]))
    connection.execute(statement, [{**dict(zip(names, key, strict=True)), "n": n} for key, n in ordered])
