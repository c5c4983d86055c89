"""The whole fleet at a glance: a row for each station, and what of it needs attention, worst first.

One pass over devices and stations and one over today's hours, however many results there are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session

from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.database.result_tables import HourlyVerdicts, Result
from lineside.dashboard.devices.values import Counts
from lineside.dashboard.people.rights import Person
from lineside.dashboard.reading import attention
from lineside.dashboard.reading.attention import Concern
from lineside.dashboard.reading.devices import DeviceBook, counts_of, place_of
from lineside.dashboard.reading.views import Contact, contact_of


@dataclass(frozen=True, slots=True)
class Filter:
    """Which stations; empty words do not choose. `words` are searched in every name."""

    site: str = ""
    area: str = ""
    line: str = ""
    label: str = ""
    words: str = ""

    def takes(self, device: Device, station: str) -> bool:
        """Whether a station is among them."""
        wanted = (self.site, self.area, self.line)
        if any(want and want != has for want, has in zip(wanted, place_of(device), strict=True)):
            return False
        if self.label:
            key, _, value = self.label.partition("=")
            if device.labels.get(key) != value:
                return False
        told = " ".join(
            (device.device, device.site, device.area, device.line, station, *device.labels.values())
        )
        return all(word in told.casefold() for word in self.words.casefold().split())


@dataclass(frozen=True, slots=True)
class Row:
    """One station as a row; `station` is empty for a device without any."""

    device: Device
    station: str
    contact: Contact
    silent_for_s: float | None
    ready: bool
    not_ready_because: tuple[str, ...]
    recipe: dict[str, Any]
    recipe_differs: bool
    engine_differs: bool
    strip: str
    age_s: float | None
    counts: Counts
    waiting: int
    waiting_oldest_s: float | None
    recent_bad: tuple[dict[str, Any], ...]
    concerns: tuple[Concern, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the tree, with how many stations it has and how many of them need attention."""

    site: str
    area: str
    line: str
    stations: int
    concerned: int


@dataclass(frozen=True, slots=True)
class FleetView:
    """What the fleet page draws. `rows` are those of the filter; the tree and labels are of all."""

    rows: tuple[Row, ...]
    concerned: tuple[Row, ...]
    tree: tuple[Line, ...]
    labels: tuple[str, ...]
    devices: int
    newest_heard_at: datetime | None


def look(session: Session, book: DeviceBook, person: Person, chosen: Filter) -> FleetView:
    """The fleet as a person may see it."""
    now, silent_after = book.now(), book.silent_after_s(session)
    devices = [d for d in session.scalars(select(Device)) if person.role_at(place_of(d)) is not None]
    stations = _stations(session, {d.id for d in devices})
    today = _today(session, book.midnight())
    waiting = _waiting(session)
    engines, recipes = _usual(devices, stations)
    rows = []
    for device in devices:
        contact, silent_for = contact_of(device.heard_at, device.watch_heard_at, now, silent_after)
        for station in stations.get(device.id) or (None,):
            n, oldest = waiting.get(station.id, (0, None)) if station else (0, None)
            ahead = timedelta(seconds=device.clock_ahead_s)
            last = station.last_decided_at if station else None
            row = Row(
                device=device,
                station=station.station if station else "",
                contact=contact,
                silent_for_s=silent_for,
                ready=bool(station and station.ready and contact is Contact.LIVE),
                not_ready_because=tuple(station.not_ready_because) if station else (),
                recipe=station.recipe if station else {},
                recipe_differs=bool(station and _differs(recipes, station.recipe, "hash")),
                engine_differs=_differs(engines, device.engine, "digest"),
                strip=station.strip if station else "",
                age_s=max(0.0, (now + ahead - last).total_seconds()) if last else None,
                counts=today.get(station.id, Counts()) if station else Counts(),
                waiting=n,
                waiting_oldest_s=max(0.0, (now - oldest).total_seconds()) if oldest else None,
                recent_bad=tuple(station.recent_bad) if station else (),
            )
            rows.append(_with_concerns(row, now))
    rows.sort(key=lambda row: (*place_of(row.device), row.device.device, row.station))
    chosen_rows = tuple(row for row in rows if chosen.takes(row.device, row.station))
    return FleetView(
        rows=chosen_rows,
        concerned=tuple(sorted((r for r in chosen_rows if r.concerns), key=lambda r: -r.concerns[0].weight)),
        tree=_tree(rows),
        labels=tuple(sorted({f"{k}={v}" for d in devices for k, v in d.labels.items()})),
        devices=len(devices),
        newest_heard_at=max((d.heard_at for d in devices if d.heard_at), default=None),
    )


def _with_concerns(row: Row, now: datetime) -> Row:
    device = row.device
    concerns = attention.concerns(
        attention.Seen(
            contact=row.contact,
            silent_for_s=row.silent_for_s,
            has_station=bool(row.station),
            ready=row.ready,
            strip=row.strip,
            counts=row.counts,
            waiting=row.waiting,
            waiting_oldest_s=row.waiting_oldest_s,
            outbox_oldest_s=device.outbox_oldest_s,
            disk_free_bytes=device.disk_free_bytes,
            temperature_c=device.temperature_c,
            clock_synchronised=device.clock_synchronised,
            certificate_left_s=(device.certificate_until - now).total_seconds()
            if device.certificate_until
            else None,
        )
    )
    return Row(
        **{name: getattr(row, name) for name in Row.__slots__ if name != "concerns"}, concerns=concerns
    )


def _stations(session: Session, devices: set[int]) -> dict[int, list[Station]]:
    found: defaultdict[int, list[Station]] = defaultdict(list)
    for station in session.scalars(select(Station).order_by(Station.station)):
        if station.device_id in devices:
            found[station.device_id].append(station)
    return found


def _today(session: Session, midnight: datetime) -> dict[int, Counts]:
    sums = session.execute(
        select(HourlyVerdicts.station_id, HourlyVerdicts.verdict, func.sum(HourlyVerdicts.n))
        .where(HourlyVerdicts.hour >= midnight)
        .group_by(HourlyVerdicts.station_id, HourlyVerdicts.verdict)
    )
    by_station: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for station, verdict, n in sums:
        by_station[station][verdict] = int(n)
    return {station: counts_of(counts) for station, counts in by_station.items()}


def _waiting(session: Session) -> dict[int, tuple[int, datetime]]:
    """How many results of a station wait for a person, as counted when they came and went, and since when."""
    # Said as the index says it, and one step into it for each station: the number waiting does not matter.
    waits = Result.review == literal("waiting", literal_execute=True)
    oldest = (
        select(Result.received_at)
        .where(Result.station_id == Station.id, waits)
        .order_by(Result.id)
        .limit(1)
        .scalar_subquery()
    )
    found = session.execute(select(Station.id, Station.waiting, oldest).where(Station.waiting > 0))
    return {station: (n, since) for station, n, since in found if since is not None}


def _usual(
    devices: Iterable[Device], stations: dict[int, list[Station]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Of each engine and recipe the version that most have: what differs from it has drifted."""
    engines: defaultdict[str, Counter[str]] = defaultdict(Counter)
    recipes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for device in devices:
        if device.engine.get("name"):
            engines[device.engine["name"]][device.engine["digest"]] += 1
        for station in stations.get(device.id, ()):
            if station.recipe.get("name"):
                recipes[station.recipe["name"]][station.recipe["hash"]] += 1
    return _most(engines), _most(recipes)


def _most(counted: dict[str, Counter[str]]) -> dict[str, str]:
    return {name: max(sorted(counts), key=counts.__getitem__) for name, counts in counted.items()}


def _differs(usual: dict[str, str], has: dict[str, Any], what: str) -> bool:
    name = has.get("name")
    return bool(name) and has.get(what) != usual.get(str(name))


def _tree(rows: Sequence[Row]) -> tuple[Line, ...]:
    stations: Counter[tuple[str, str, str]] = Counter()
    concerned: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        place = place_of(row.device)
        stations[place] += 1
        concerned[place] += bool(row.concerns)
    return tuple(Line(*place, n, concerned[place]) for place, n in sorted(stations.items()))
