"""One device and its stations, from the database."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lineside.dashboard.config import Address, DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Cursor, Device, Station
from lineside.dashboard.database.result_tables import HourlyVerdicts, Result, ResultRecord
from lineside.dashboard.devices import translate, values
from lineside.dashboard.devices.values import Verdict
from lineside.dashboard.people.rights import Place
from lineside.dashboard.reading.views import DeviceView, StationView, contact_of
from lineside.v1 import results_pb2

KEPT = 60
"""Results of a station that a page may look back on."""
COUNT_EVERY_S = 10.0


class DeviceBook:
    """Reads devices. Thread-safe; one for a process."""

    def __init__(
        self,
        database: Database,
        config: DashboardConfig,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._config, self.now, self._monotonic = database, config, now, monotonic
        self._silent_after: tuple[float, float] | None = None

    def silent_after_s(self, session: Session) -> float:
        """After how long a device counts as silent; it grows with the fleet, counted now and then."""
        known = self._silent_after
        if known is None or self._monotonic() - known[0] > COUNT_EVERY_S:
            n = session.scalar(select(func.count()).select_from(Device)) or 0
            known = self._silent_after = (self._monotonic(), self._config.silent_after(n))
        return known[1]

    def find(self, session: Session, key: str) -> Device | None:
        """The row of the device of that id or address."""
        found = session.scalars(select(Device).where(Device.device == key)).one_or_none()
        return found or session.scalars(select(Device).where(Device.address == key)).one_or_none()

    def view(self, session: Session, row: Device) -> DeviceView:
        """A device as known now."""
        now = self.now()
        contact, silent_for = contact_of(row.heard_at, row.watch_heard_at, now, self.silent_after_s(session))
        since = max(0.0, (now - row.heard_at).total_seconds()) if row.heard_at else 0.0
        stations = session.scalars(
            select(Station).where(Station.device_id == row.id, Station.listed).order_by(Station.station)
        )
        cameras = tuple(values.Camera(**camera) for camera in row.cameras)
        return DeviceView(
            key=row.device,
            contact=contact,
            silent_for_s=silent_for,
            trouble=row.trouble,
            device=device_value(row) if row.heard_at is not None else None,
            stations=tuple(station_value(s) for s in stations),
            cameras=tuple(
                c if c.last_frame_age_s is None else replace(c, last_frame_age_s=c.last_frame_age_s + since)
                for c in cameras
            ),
            now=now + timedelta(seconds=row.clock_ahead_s),
        )

    def counts(self, session: Session, station_id: int) -> values.Counts:
        """What was counted today, in the plant's zone."""
        found = session.execute(
            select(HourlyVerdicts.verdict, func.sum(HourlyVerdicts.n))
            .where(HourlyVerdicts.station_id == station_id, HourlyVerdicts.hour >= self.midnight())
            .group_by(HourlyVerdicts.verdict)
        )
        return counts_of({verdict: int(n) for verdict, n in found})

    def midnight(self) -> datetime:
        """When today began, in the plant's zone."""
        local = self.now().astimezone(self._config.timezone)
        return local.replace(hour=0, minute=0, second=0, microsecond=0)

    def results(
        self, session: Session, station: Station, after_id: int = 0
    ) -> list[tuple[int, values.Result]]:
        """A station's last results with their row ids, oldest first; only those after a row."""
        history = select(Cursor.history).where(Cursor.device_id == station.device_id).scalar_subquery()
        found = session.execute(
            select(Result.id, ResultRecord.inspection)
            .join(ResultRecord, ResultRecord.result == Result.id)
            .where(Result.station_id == station.id, Result.id > after_id, Result.history == history)
            .order_by(Result.id.desc())
            .limit(KEPT)
        ).all()
        return [(i, read_record(record)) for i, record in reversed(found)]


class StationReader:
    """Looks at one station again and again, reading each result once. For one live page."""

    def __init__(self, book: DeviceBook, database: Database, device_id: int, station: str) -> None:
        self._book, self._database = book, database
        self._device_id, self._station = device_id, station
        self._results: list[tuple[int, values.Result]] = []
        self._last = ("", 0)

    def look(self) -> tuple[DeviceView, StationView] | None:
        """How it is now; None when the device was removed."""
        with self._database.reading() as session:
            device = session.get(Device, self._device_id)
            if device is None:
                return None
            view = self._book.view(session, device)
            row = session.scalars(
                select(Station).where(Station.device_id == device.id, Station.station == self._station)
            ).one_or_none()
            if row is None:
                return view, StationView((), values.Counts())
            last = (row.last_result_id, row.last_sequence)
            if last != self._last:
                self._read_on(session, row)
                self._last = last
            return view, StationView(
                tuple(result for _, result in self._results), self._book.counts(session, row.id)
            )

    def _read_on(self, session: Session, row: Station) -> None:
        after = self._results[-1][0] if self._results else 0
        news = self._book.results(session, row, after)
        if news and self._results and news[0][1].sequence <= self._results[-1][1].sequence:
            self._results = []  # the device's store began anew
        self._results = (self._results + news)[-KEPT:]


def read_record(record: bytes) -> values.Result:
    """A stored record as a value."""
    return translate.result(results_pb2.Inspection.FromString(zlib.decompress(record)))


def address_of(row: Device) -> Address:
    """Where a device is called."""
    return Address.parse(row.address)


def place_of(row: Device) -> Place:
    """The line a device stands on."""
    return row.site, row.area, row.line


def device_value(row: Device) -> values.Device:
    """A device's row as a value."""
    return values.Device(
        device=row.device,
        site=row.site,
        area=row.area,
        line=row.line,
        software_version=row.software_version,
        engine=values.Engine(**row.engine) if row.engine else translate.NO_ENGINE,
        engine_state=row.engine_state,
        clock_synchronised=row.clock_synchronised,
        last_sequence=row.last_sequence,
        outbox_depth=row.outbox,
        outbox_oldest_s=row.outbox_oldest_s,
        evidence_bytes=row.evidence_bytes,
        disk_free_bytes=row.disk_free_bytes,
    )


def station_value(row: Station) -> values.Station:
    """A station's row as a value."""
    return values.Station(
        station=row.station,
        cameras=tuple(row.cameras),
        recipe=values.Recipe(**row.recipe) if row.recipe else None,
        ready=row.ready,
        not_ready_because=tuple(row.not_ready_because),
        pending=row.pending,
    )


def counts_of(by_verdict: dict[str, int], since: datetime | None = None) -> values.Counts:
    """Counts by verdict; what this software does not understand wants a person as well."""
    return values.Counts(
        ok=by_verdict.get(Verdict.OK, 0),
        not_ok=by_verdict.get(Verdict.NOT_OK, 0),
        not_decidable=by_verdict.get(Verdict.NOT_DECIDABLE, 0) + by_verdict.get(Verdict.UNKNOWN, 0),
        since=since,
    )


def station_names(session: Session, device_id: int) -> Sequence[str]:
    """Every station heard of, those that the device lists first."""
    found = select(Station.station).where(Station.device_id == device_id)
    return session.scalars(found.order_by(Station.listed.desc(), Station.station)).all()
