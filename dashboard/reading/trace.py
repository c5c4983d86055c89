"""Finds results by what a person knows of a part, newest first, without counting what lies behind.

Pages go by the row of the last one shown, so that the thousandth page costs what the first does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.database.result_tables import (
    EngineVersion,
    Finding,
    RecipeVersion,
    Result,
    ResultRecord,
    Review,
)
from lineside.dashboard.devices import values
from lineside.dashboard.people.rights import Person
from lineside.dashboard.reading.devices import read_record
from lineside.dashboard.reading.spots import spots

PAGE = 50
BATCH = 1000
LONGEST_SEARCH_MS = 8000
TEXT_LOOKS_BACK = timedelta(days=31)
"""How far a search in texts goes where no beginning is given: texts have no index."""


class TookTooLong(Exception):
    """The database did not find enough in time: the search must be narrowed."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is known of a part; empty words do not choose.

    `words` is a part id, its beginning, a lot, or a result id; `text` stands somewhere in what the engine
    read, in a finding or a note. Times are aware; `until` is not included.
    """

    words: str = ""
    lot: str = ""
    device: str = ""
    station: str = ""
    verdict: str = ""
    defect: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known: then the newest are shown."""
        return self == Search()


@dataclass(frozen=True, slots=True)
class Found:
    """One result in a list."""

    row: int
    device: str
    station: str
    result_id: str
    sequence: int
    part_id: str
    lot: str | None
    verdict: str
    defect: str | None
    confidence: float | None
    recipe: str
    recipe_version: int
    recipe_hash: str
    engine: str
    engine_version: str
    engine_digest: str
    shift: str
    decided_at: datetime
    received_at: datetime
    total_ms: float | None
    is_simulated: bool
    clock_synchronised: bool
    chained: bool | None
    review: str


COLUMNS = (
    Result.id, Device.device, Station.station, Result.result_id, Result.sequence, Result.part_id, Result.lot,
    Result.verdict, Result.defect, Result.confidence, RecipeVersion.name, RecipeVersion.version,
    RecipeVersion.hash, EngineVersion.name, EngineVersion.version, EngineVersion.digest, Result.shift,
    Result.decided_at, Result.received_at, Result.total_ms, Result.is_simulated, Result.clock_synchronised,
    Result.chained, Result.review,
)  # fmt: skip


def page(session: Session, person: Person, search: Search, now: datetime, before: int | None) -> list[Found]:
    """One page, newest first, and one more where there is a next page.

    Raises:
        TookTooLong: nothing was found in the time a page may take.
    """
    wanted = _chosen(session, person, search, now)
    if wanted is None:
        return []
    if before is not None:
        wanted = wanted.where(Result.id < before)
    _limit_time(session, LONGEST_SEARCH_MS)
    try:
        rows = session.execute(wanted.order_by(Result.id.desc()).limit(PAGE + 1)).all()
    except OperationalError as error:
        if "statement timeout" in str(error):
            raise TookTooLong from None
        raise
    return [Found(*row) for row in rows]


def everything(session: Session, person: Person, search: Search, now: datetime) -> Iterator[list[Found]]:
    """All that is found, newest first, in batches: as much memory as one batch takes."""
    wanted, before = _chosen(session, person, search, now), None
    while wanted is not None:
        one = wanted.where(Result.id < before) if before is not None else wanted
        batch = [Found(*row) for row in session.execute(one.order_by(Result.id.desc()).limit(BATCH))]
        if batch:
            yield batch
        if len(batch) < BATCH:
            return
        before = batch[-1].row


def crops(session: Session, found: Sequence[Found]) -> dict[int, values.Evidence]:
    """The small picture of each result that has one."""
    records = session.execute(
        select(ResultRecord.result, ResultRecord.inspection).where(
            ResultRecord.result.in_([f.row for f in found])
        )
    )
    pictures = {row: read_record(record).crop for row, record in records}
    return {row: crop for row, crop in pictures.items() if crop is not None}


def neighbours(session: Session, row: Result) -> tuple[str | None, str | None]:
    """The ids of the results that a device stored just before and just after another."""
    told = []
    for step in (-1, 1):
        found = select(Result.result_id).where(
            Result.device_id == row.device_id,
            Result.history == row.history,
            Result.sequence == row.sequence + step,
        )
        told.append(session.scalars(found).first())
    return told[0], told[1]


def _chosen(
    session: Session, person: Person, search: Search, now: datetime
) -> Select[*tuple[Any, ...]] | None:
    every = spots(session)
    stations = [
        spot.id
        for spot in every
        if person.role_at(spot.place) is not None
        and search.device in ("", spot.device)
        and search.station in ("", spot.station)
    ]
    if not stations:
        return None
    conditions: list[ColumnElement[bool]] = []
    if len(stations) < len(every):
        conditions.append(Result.station_id.in_(stations))
    if search.words:
        conditions.append(_named(session, search.words))
    if search.lot:
        conditions.append(Result.lot == search.lot)
    if search.verdict:
        conditions.append(Result.verdict == search.verdict)
    if search.defect:
        conditions.append(
            exists().where(Finding.result == Result.id, Finding.label == search.defect, Finding.is_defect)
        )
    since = search.since
    if search.text:
        since = since or now - TEXT_LOOKS_BACK
        conditions.append(_told(search.text))
    if since is not None:
        conditions.append(Result.decided_at >= since)
    if search.until is not None:
        conditions.append(Result.decided_at < search.until)
    return (
        select(*COLUMNS)
        .select_from(Result)
        .join(Device, Device.id == Result.device_id)
        .join(Station, Station.id == Result.station_id)
        .join(RecipeVersion, RecipeVersion.id == Result.recipe_id)
        .join(EngineVersion, EngineVersion.id == Result.engine_id)
        .where(*conditions)
    )


def _named(session: Session, words: str) -> ColumnElement[bool]:
    """By part id or its beginning, lot, or result id; each by its own index, joined by their rows."""
    last = words[:-1] + chr(min(ord(words[-1]) + 1, 0x10FFFF)) if words else ""
    if session.get_bind().dialect.name == "sqlite":
        begins: ColumnElement[bool] = (Result.part_id >= words) & (Result.part_id < last)
    else:
        begins = Result.part_id.startswith(words, autoescape=True)
    branches = (begins, Result.lot == words, Result.result_id == words)
    return Result.id.in_(
        select(Result.id).where(branches[0]).union(*(select(Result.id).where(b) for b in branches[1:]))
    )


def _told(words: str) -> ColumnElement[bool]:
    def somewhere(column: Any) -> ColumnElement[bool]:
        return func.lower(column).contains(words.lower(), autoescape=True)

    finding = exists().where(
        Finding.result == Result.id, or_(somewhere(Finding.text), somewhere(Finding.label))
    )
    note = exists().where(Review.result == Result.id, Review.undone_at.is_(None), somewhere(Review.note))
    return or_(finding, note, somewhere(Result.part_id))


def _limit_time(session: Session, milliseconds: int) -> None:
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SET LOCAL statement_timeout = {int(milliseconds)}"))
