"""Writes how devices and stations are, as last answered. Only the newest answer of each device counts."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, update

from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.devices import values
from lineside.dashboard.ingest.judged import clip

STATIONS_KEPT = 200
"""Stations listed of one device: a device that makes up names cannot fill the database."""


@dataclass(frozen=True, slots=True)
class State:
    """One answer of a device, or, with `device` None, why there was none. Times are this machine's."""

    device_id: int
    at: datetime
    trouble: str = ""
    device: values.Device | None = None
    stations: tuple[values.Station, ...] = ()
    cameras: tuple[values.Camera, ...] = ()


class StateBoard:
    """The newest state of each device until it is written. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[int, State] = {}

    def put(self, state: State) -> None:
        """Replaces an older one that nobody wrote yet."""
        with self._lock:
            self._newest[state.device_id] = state

    def put_back(self, states: Iterable[State]) -> None:
        """Gives back what could not be written, unless there is a newer one."""
        with self._lock:
            for state in states:
                self._newest.setdefault(state.device_id, state)

    def take(self) -> list[State]:
        """What is to be written, by device."""
        with self._lock:
            taken, self._newest = self._newest, {}
        return [taken[device] for device in sorted(taken)]


def write(database: Database, states: list[State]) -> None:
    """Writes states in one transaction."""
    stations = cast(Table, Station.__table__)
    with database.statements() as connection:
        for state in states:
            if state.device is None:
                connection.execute(
                    update(Device)
                    .where(Device.id == state.device_id)
                    .values(trouble=clip(state.trouble, 300))
                )
                continue
            changed = connection.execute(
                update(Device).where(Device.id == state.device_id).values(**_columns(state, state.device))
            )
            if changed.rowcount == 0:
                continue  # removed meanwhile
            listed = state.stations[:STATIONS_KEPT]
            unlist = update(Station).where(Station.device_id == state.device_id, Station.listed)
            if listed:
                unlist = unlist.where(Station.station.not_in([clip(s.station, 200) for s in listed]))
            connection.execute(unlist.values(listed=False, ready=False))
            for station in listed:
                row = _station(state.device_id, station)
                insert = database.insert(stations).values(
                    strip="", last_sequence=0, last_result_id="", recent_bad=[], **row
                )
                connection.execute(
                    insert.on_conflict_do_update(
                        index_elements=["device_id", "station"],
                        set_={
                            name: insert.excluded[name]
                            for name in row
                            if name not in ("device_id", "station")
                        },
                    )
                )


def _columns(state: State, device: values.Device) -> dict[str, Any]:
    return {
        "site": clip(device.site, 128),
        "area": clip(device.area, 128),
        "line": clip(device.line, 128),
        "software_version": clip(device.software_version, 64),
        "engine": asdict(device.engine),
        "engine_state": clip(device.engine_state, 32),
        "cameras": [asdict(camera) for camera in state.cameras[:STATIONS_KEPT]],
        "clock_synchronised": device.clock_synchronised,
        "clock_ahead_s": (device.time - state.at).total_seconds() if device.time is not None else 0.0,
        "last_sequence": device.last_sequence,
        "outbox": dict(device.outbox_depth),
        "outbox_oldest_s": device.outbox_oldest_s,
        "evidence_bytes": device.evidence_bytes,
        "disk_free_bytes": device.disk_free_bytes,
        "certificate_until": device.certificate_until,
        "temperature_c": device.temperature_c,
        "heard_at": state.at,
        "trouble": "",
    }


def _station(device_id: int, station: values.Station) -> dict[str, Any]:
    recipe = station.recipe
    return {
        "device_id": device_id,
        "station": clip(station.station, 200),
        "listed": True,
        "cameras": list(station.cameras),
        "recipe": asdict(recipe) if recipe is not None else {},
        "ready": station.ready,
        "not_ready_because": list(station.not_ready_because),
        "pending": station.pending,
    }
