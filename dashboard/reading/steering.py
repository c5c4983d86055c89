"""What recipe and engine pages show: versions, drafts, the stations and devices a person may steer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.database.people_tables import User
from lineside.dashboard.database.result_tables import RecipeVersion
from lineside.dashboard.database.rollout_tables import RecipeDraft
from lineside.dashboard.people.rights import Person, Role
from lineside.dashboard.reading.devices import DeviceBook, place_of
from lineside.dashboard.reading.views import Contact

MOST_DRAFTS = 50


@dataclass(frozen=True, slots=True)
class Spot:
    """A station a person may look at. `may`: whether they may steer it."""

    device: Device
    station: Station
    live: bool
    may: bool


@dataclass(frozen=True, slots=True)
class Shelf:
    """One recipe: its versions, newest first, the stations that judge by it, and its drafts."""

    name: str
    versions: tuple[RecipeVersion, ...]
    spots: tuple[Spot, ...]
    drafts: tuple[RecipeDraft, ...]


def devices(session: Session, book: DeviceBook, who: Person) -> list[tuple[Device, bool]]:
    """Devices a person may look at, by name, and whether each answers now."""
    rows = session.scalars(select(Device).order_by(Device.device)).all()
    return [
        (row, book.view(session, row).contact is Contact.LIVE)
        for row in rows
        if who.role_at(place_of(row)) is not None
    ]


def spots(session: Session, book: DeviceBook, who: Person) -> list[Spot]:
    """Stations a person may look at."""
    seen = {row.id: (row, live) for row, live in devices(session, book, who)}
    stations = session.scalars(
        select(Station).where(Station.device_id.in_(seen), Station.listed).order_by(Station.station)
    )
    made = []
    for station in stations:
        device, live = seen[station.device_id]
        made.append(Spot(device, station, live, who.may(Role.ENGINEER, place_of(device))))
    return made


def shelves(session: Session, book: DeviceBook, who: Person) -> list[Shelf]:
    """Every recipe, by name."""
    judging = spots(session, book, who)
    versions = session.scalars(
        select(RecipeVersion).order_by(RecipeVersion.version.desc(), RecipeVersion.id.desc())
    ).all()
    drafts = session.scalars(select(RecipeDraft).order_by(RecipeDraft.id.desc()).limit(MOST_DRAFTS)).all()
    names = {version.name for version in versions if version.name} | {draft.recipe for draft in drafts}
    return [
        Shelf(
            name,
            tuple(version for version in versions if version.name == name),
            tuple(spot for spot in judging if (spot.station.recipe or {}).get("name") == name),
            tuple(draft for draft in drafts if draft.recipe == name),
        )
        for name in sorted(names)
    ]


def names_of(session: Session, users: Sequence[int]) -> dict[int, str]:
    """The names of users by id."""
    rows = session.execute(select(User.id, User.name).where(User.id.in_(users)))
    return {number: name for number, name in rows}  # noqa: C416 - rows are no pairs to mypy
