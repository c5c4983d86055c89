"""Stores arrivals: results, their counts and the cursor in one transaction, each result once.

The cursor's row is locked first, so that two processes that both believe they follow a device cannot store
a result twice: the later one finds the cursor moved. Whatever breaks, nothing of a transaction is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import structlog
from sqlalchemy import Connection, Table, insert, select, update

from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Cursor, Device, Station
from lineside.dashboard.database.result_tables import Finding, Result, ResultRecord
from lineside.dashboard.ingest.arrivals import Arrival
from lineside.dashboard.ingest.catalogue import Catalogue
from lineside.dashboard.ingest.counts import Counts
from lineside.dashboard.ingest.judged import Judged, clip, judged
from lineside.dashboard.ingest.shifts import ShiftPlan

STRIP = 60
RECENT_BAD = 6
CURSORS = cast(Table, Cursor.__table__)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Place:
    """A device's cursor while a transaction moves it."""

    history: int
    sequence: int
    row_hash: str
    skipped: int


@dataclass(slots=True)
class _News:
    """What a transaction adds to one station's row."""

    letters: str = ""
    bad: list[dict[str, Any]] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """Writes arrivals into one database. Used by one thread."""

    def __init__(self, database: Database, shifts: ShiftPlan, sample: float) -> None:
        self._database, self.shifts, self.sample = database, shifts, sample
        self._catalogue = Catalogue(database)

    def store(self, arrivals: Sequence[Arrival]) -> int:
        """Stores what was not stored before, in order; gives how many results that were.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: nothing was stored; the same arrivals may be given again.
        """
        try:
            with self._database.statements() as connection:
                return self._store(connection, arrivals)
        except BaseException:
            # Ids learnt in a transaction that was undone name nothing.
            self._catalogue.forget()
            raise

    def _store(self, connection: Connection, arrivals: Sequence[Arrival]) -> int:
        places = self._lock(connection, {a.device_id for a in arrivals})
        rows: list[tuple[dict[str, Any], Judged]] = []
        counts, news = Counts(), defaultdict[int, _News](_News)
        heard: dict[int, Any] = {}
        known = self._known(connection, arrivals)
        for arrival in arrivals:
            place = places.get(arrival.device_id)
            if place is None:
                continue  # the device was removed meanwhile
            heard[arrival.device_id] = arrival.received_at
            if arrival.begins and arrival.history > place.history:
                places[arrival.device_id] = _Place(arrival.history, 0, "", place.skipped)
                continue
            if arrival.history != place.history or arrival.sequence <= place.sequence:
                continue
            row = self._row(connection, arrival, place, known, counts, news)
            if row is not None:
                rows.append(row)
            inspection = arrival.inspection
            place.skipped += arrival.sequence - place.sequence - (1 if inspection is not None else 0)
            place.row_hash = inspection.row_hash[:64] if inspection is not None else ""
            place.sequence = arrival.sequence
        self._insert(connection, rows)
        counts.write(self._database, connection)
        self._update_stations(connection, news)
        self._move(connection, places, heard)
        return len(rows)

    def _lock(self, connection: Connection, devices: set[int]) -> dict[int, _Place]:
        # Alone of its kind for every device that exists: a cursor is made where there is none yet.
        present = connection.scalars(select(Device.id).where(Device.id.in_(devices))).all()
        if not present:
            return {}
        made = self._database.insert(CURSORS).on_conflict_do_nothing(index_elements=["device_id"])
        connection.execute(
            made,
            [{"device_id": i, "history": 1, "sequence": 0, "row_hash": "", "skipped": 0} for i in present],
        )
        found = connection.execute(
            select(Cursor.device_id, Cursor.history, Cursor.sequence, Cursor.row_hash, Cursor.skipped)
            .where(Cursor.device_id.in_(present))
            .order_by(Cursor.device_id)
            .with_for_update()
        )
        return {row[0]: _Place(*row[1:]) for row in found}

    def _known(self, connection: Connection, arrivals: Sequence[Arrival]) -> set[tuple[int, str]]:
        """Results of these ids that are stored already, as after a device was restored from a copy."""
        wanted = [clip(a.inspection.result_id, 64) for a in arrivals if a.inspection is not None]
        if not wanted:
            return set()
        found = connection.execute(
            select(Result.device_id, Result.result_id).where(Result.result_id.in_(wanted))
        )
        return {(device, result_id) for device, result_id in found}

    def _row(
        self,
        connection: Connection,
        arrival: Arrival,
        place: _Place,
        known: set[tuple[int, str]],
        counts: Counts,
        news: defaultdict[int, _News],
    ) -> tuple[dict[str, Any], Judged] | None:
        message = arrival.inspection
        if message is None:
            return None
        result_id = (arrival.device_id, clip(message.result_id, 64))
        if result_id in known:
            log.warning(
                "result known by another number", result_id=message.result_id, sequence=arrival.sequence
            )
            return None
        try:
            made = judged(message, arrival.received_at, self.shifts, self.sample)
        except Exception:
            # One record that cannot be read must not hold up all that come after it.
            log.exception("result not readable", device_id=arrival.device_id, sequence=arrival.sequence)
            return None
        known.add(result_id)
        station = self._catalogue.station(connection, arrival.device_id, made.station)
        recipe = self._catalogue.recipe(connection, made.recipe, arrival.received_at)
        engine = self._catalogue.engine(connection, made.engine, arrival.received_at)
        follows = place.sequence > 0 and arrival.sequence == place.sequence + 1 and place.row_hash != ""
        row = {
            **made.columns,
            "device_id": arrival.device_id,
            "history": place.history,
            "station_id": station,
            "recipe_id": recipe,
            "engine_id": engine,
            "chained": message.prev_hash == place.row_hash if follows else None,
        }
        counts.add(row, made.defects)
        told = news[station]
        told.letters += made.letter
        if made.bad is not None:
            told.bad.insert(0, made.bad)
        told.last = row
        return row, made

    def _insert(self, connection: Connection, rows: list[tuple[dict[str, Any], Judged]]) -> None:
        if not rows:
            return
        statement = insert(Result).returning(Result.id, sort_by_parameter_order=True)
        ids = connection.scalars(statement, [row for row, _ in rows]).all()
        records = [{"result": i, "inspection": made.record} for i, (_, made) in zip(ids, rows, strict=True)]
        connection.execute(insert(ResultRecord), records)
        findings = [{**f, "result": i} for i, (_, made) in zip(ids, rows, strict=True) for f in made.findings]
        if findings:
            connection.execute(insert(Finding), findings)

    def _update_stations(self, connection: Connection, news: dict[int, _News]) -> None:
        if not news:
            return
        found = connection.execute(
            select(Station.id, Station.strip, Station.recent_bad).where(Station.id.in_(news))
        )
        for station, strip, bad in found.all():
            told = news[station]
            connection.execute(
                update(Station)
                .where(Station.id == station)
                .values(
                    strip=(strip + told.letters)[-STRIP:],
                    recent_bad=[*told.bad, *bad][:RECENT_BAD],
                    last_sequence=told.last["sequence"],
                    last_decided_at=told.last["decided_at"],
                    last_result_id=told.last["result_id"],
                )
            )

    def _move(self, connection: Connection, places: dict[int, _Place], heard: dict[int, Any]) -> None:
        for device, at in sorted(heard.items()):
            place = places[device]
            connection.execute(
                update(Cursor)
                .where(Cursor.device_id == device)
                .values(
                    history=place.history,
                    sequence=place.sequence,
                    row_hash=place.row_hash,
                    skipped=place.skipped,
                    moved_at=at,
                )
            )
            connection.execute(update(Device).where(Device.id == device).values(watch_heard_at=at))
