"""What waits for a person, in that person's order. Reads the index of what is open alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, literal, select, text
from sqlalchemy.orm import Session

from lineside.dashboard.database.fleet_tables import Station
from lineside.dashboard.database.people_tables import User
from lineside.dashboard.database.quality_tables import ReviewSkip
from lineside.dashboard.database.result_tables import OPEN_REVIEW, Result, ResultRecord, Review
from lineside.dashboard.devices import values
from lineside.dashboard.labels.settle import State
from lineside.dashboard.people.rights import Person, Role
from lineside.dashboard.reading.devices import read_record
from lineside.dashboard.reading.spots import Spot, spots

KINDS = {"first": State.WAITING, "second": State.SECOND, "disputed": State.DISPUTED}
SHOWS = ("", "NOT_DECIDABLE", "NOT_OK", "sample")
AHEAD = 8
"""Parts shown ahead in the strip."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What of the queue a person wants to see; empty words do not choose."""

    kind: str = "first"
    show: str = ""
    line: str = ""
    station: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One part in the queue. `skipped`: this person put it off."""

    row: int
    device: str
    result: values.Result
    because: str
    received_at: datetime
    skipped: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """Another person's decision, as shown to who settles a disagreement."""

    who: str
    decision: str
    label: str | None
    note: str
    decided_at: datetime
    second: bool
    undone: bool
    sent: bool
    refused: str


def stations_for(session: Session, person: Person, role: Role, wish: Wish) -> dict[int, Spot]:
    """The stations where a person is at least `role`, of the wished line or name."""
    return {
        spot.id: spot
        for spot in spots(session)
        if person.may(role, spot.place)
        and wish.line in ("", spot.line)
        and wish.station in ("", spot.station)
    }


def counts(session: Session, person: Person, stations: dict[int, Any]) -> dict[str, int]:
    """How many parts wait, by kind: first readings, second readings of others', disagreements."""
    waiting = session.scalar(
        select(func.coalesce(func.sum(Station.waiting), 0)).where(Station.id.in_(stations))
    )
    told = {"first": int(waiting or 0)}
    for kind in ("second", "disputed"):
        told[kind] = session.scalar(_open(select(func.count()), person, stations, Wish(kind))) or 0
    return told


def ahead(
    session: Session, person: Person, stations: dict[int, Spot], wish: Wish, most: int = AHEAD
) -> list[Waiting]:
    """The next parts, oldest first; those this person skipped come last, the longest skipped first."""
    skipped = exists().where(ReviewSkip.result == Result.id, ReviewSkip.user_id == person.id)
    fresh = _open(select(Result, ResultRecord.inspection), person, stations, wish).where(~skipped)
    fresh = fresh.join(ResultRecord, ResultRecord.result == Result.id).order_by(Result.id).limit(most)
    found = [(*row, False) for row in session.execute(fresh)]
    if len(found) < most:
        put_off = _open(select(Result, ResultRecord.inspection), person, stations, wish)
        put_off = put_off.join(ResultRecord, ResultRecord.result == Result.id).join(
            ReviewSkip, and_(ReviewSkip.result == Result.id, ReviewSkip.user_id == person.id)
        )
        put_off = put_off.order_by(ReviewSkip.skipped_at, Result.id).limit(most - len(found))
        found += [(*row, True) for row in session.execute(put_off)]
    return [
        Waiting(
            row.id,
            stations[row.station_id].device,
            read_record(record),
            row.review_because,
            row.received_at,
            later,
        )
        for row, record, later in found
    ]


def one(session: Session, stations: dict[int, Spot], result_id: str) -> Waiting | None:
    """A part by its id, in the queue or not."""
    found = session.execute(
        select(Result, ResultRecord.inspection)
        .join(ResultRecord, ResultRecord.result == Result.id)
        .where(Result.result_id == result_id)
        .limit(1)
    ).first()
    if found is None or found[0].station_id not in stations:
        return None
    row, record = found
    device = stations[row.station_id].device
    return Waiting(row.id, device, read_record(record), row.review_because, row.received_at, False)


def readings(session: Session, result: int) -> Sequence[Reading]:
    """All decisions on a part, those taken back as well, oldest first."""
    found = session.execute(
        select(Review, User.name)
        .join(User, User.id == Review.user_id)
        .where(Review.result == result)
        .order_by(Review.id)
    )
    return [
        Reading(
            name, r.decision, r.label, r.note, r.decided_at, r.is_second,
            r.undone_at is not None, r.sent_at is not None, r.refused,
        )
        for r, name in found
    ]  # fmt: skip


def last_ok(session: Session, station: int, before: int) -> values.Result | None:
    """The last part before another that passed at a station: where there is no golden part."""
    found = session.scalars(
        select(ResultRecord.inspection)
        .join(Result, Result.id == ResultRecord.result)
        .where(Result.station_id == station, Result.id < before, Result.verdict == "OK")
        .order_by(Result.id.desc())
        .limit(1)
    ).first()
    return read_record(found) if found is not None else None


def _open(
    chosen: Select[*tuple[Any, ...]], person: Person, stations: dict[int, Any], wish: Wish
) -> Select[*tuple[Any, ...]]:
    # Said as the index says it: only then may a database use it.
    state = literal(KINDS[wish.kind].value, literal_execute=True)
    chosen = chosen.select_from(Result).where(text(OPEN_REVIEW), Result.review == state)
    conditions: list[ColumnElement[bool]] = [Result.station_id.in_(stations)]
    if wish.show == "sample":
        conditions.append(Result.review_because == "sample")
    elif wish.show:
        conditions.append(Result.verdict == wish.show)
    if wish.kind == "second":
        mine = exists().where(
            Review.result == Result.id, Review.user_id == person.id, Review.undone_at.is_(None)
        )
        conditions.append(~mine)
    return chosen.where(*conditions)
