"""Which devices there are: rows of `devices`, by the addresses given and found, and by what they say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import structlog
from sqlalchemy import Table, delete, select, update
from sqlalchemy.orm import Session

from lineside.dashboard.config import Address
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Cursor, Device
from lineside.dashboard.database.result_tables import RecipeVersion
from lineside.dashboard.devices import values
from lineside.dashboard.ingest.judged import clip

LARGEST_RECIPE = 256 * 1024
STILL_THERE = timedelta(seconds=60)

log = structlog.get_logger(__name__)


class TwoOfOneName(Exception):
    """Two addresses answer as the same device; the message names both."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a device's results were handed over: its row, the life of its store, the sequence."""

    device_id: int
    history: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A row to follow."""

    device_id: int
    address: Address


class Roster:
    """The devices of one database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, address: Address, found_by: str) -> None:
        """A device at an address, if there is none yet."""
        with self._database.writing() as session:
            if session.scalar(select(Device.id).where(Device.address == str(address))) is None:
                session.add(Device(device=str(address), address=str(address), found_by=found_by))

    def moved(self, device: str, address: Address) -> None:
        """A device said on the broker where it is: the row of that id goes there; a new one is made."""
        with self._database.writing() as session:
            row = session.scalars(select(Device).where(Device.device == device)).one_or_none()
            if row is not None and row.address == str(address):
                return
            other = session.scalars(select(Device).where(Device.address == str(address))).one_or_none()
            if other is not None:
                return  # followed there already: who it is, it says itself
            if row is not None and row.found_by == "mqtt":
                row.address = str(address)
            elif row is None:
                session.add(Device(device=str(address), address=str(address), found_by="mqtt"))

    def to_follow(self, configured: Iterable[Address]) -> list[Listed]:
        """Every device to follow now: those given, and those found."""
        wanted = {str(address) for address in configured}
        with self._database.reading() as session:
            rows = session.execute(select(Device.id, Device.address, Device.found_by)).all()
        return [
            Listed(i, Address.parse(address))
            for i, address, found_by in rows
            if found_by != "configured" or address in wanted
        ]

    def identify(self, row: int, device: values.Device, now: datetime) -> Place:
        """The place of the device that answered at a row's address, whose row it becomes.

        Raises:
            TwoOfOneName: another address answered under this name a moment ago.
        """
        name = clip(device.device, 200)
        with self._database.writing() as session:
            here = session.get(Device, row)
            if here is None:
                raise LookupError(f"device row {row} was removed")
            known = session.scalars(select(Device).where(Device.device == name)).one_or_none()
            if known is None or known.id == here.id:
                here.device, here.identified = name, True
                known = here
            else:
                self._take_over(session, here, known, now)
            known.site, known.area, known.line = (
                clip(device.site, 128),
                clip(device.area, 128),
                clip(device.line, 128),
            )
            place = session.get(Cursor, known.id)
            return Place(known.id, place.history if place else 1, place.sequence if place else 0)

    def _take_over(self, session: Session, here: Device, known: Device, now: datetime) -> None:
        """The device was known at another address: its row moves here, unless it still answers there."""
        if known.heard_at is not None and now - known.heard_at < STILL_THERE:
            raise TwoOfOneName(
                f"{here.address} answers as {known.device}, which {known.address} does as well"
            )
        log.info("device moved", device=known.device, before=known.address, now=here.address)
        address, found_by = here.address, here.found_by
        session.execute(delete(Device).where(Device.id == here.id))
        session.execute(
            update(Device).where(Device.id == known.id).values(address=address, found_by=found_by)
        )
        session.expire(known)

    def keep_recipe(self, name: str, version: int, hash_: str, text: str, now: datetime) -> None:
        """Keeps a recipe's text beside its version."""
        if len(text) > LARGEST_RECIPE:
            return
        key = {"name": clip(name, 200), "version": version, "hash": clip(hash_, 64)}
        with self._database.statements() as connection:
            table = cast(Table, RecipeVersion.__table__)
            insert = self._database.insert(table).values(
                **key, text=clip(text, LARGEST_RECIPE), first_seen_at=now
            )
            connection.execute(
                insert.on_conflict_do_update(index_elements=list(key), set_={"text": insert.excluded["text"]})
            )
