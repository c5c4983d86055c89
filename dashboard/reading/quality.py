"""Quality of a period: from the counts by shift, hour and lot alone, never from the results one by one.

Only a lot's Pareto reads results, by the lot's own index.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from lineside.dashboard.database.quality_tables import (
    LotVerdicts,
    ReviewedParts,
    ShiftDefects,
    ShiftVerdicts,
)
from lineside.dashboard.database.result_tables import (
    EngineVersion,
    HourlyVerdicts,
    RecipeVersion,
    Result,
)
from lineside.dashboard.devices.values import Counts
from lineside.dashboard.people.rights import Person
from lineside.dashboard.reading.devices import counts_of
from lineside.dashboard.reading.estimates import Escapes, Stratum, escapes
from lineside.dashboard.reading.spots import spots
from lineside.dashboard.reading.statistics import Bar, pareto

HOURS_UP_TO = timedelta(days=2)
"""Periods drawn by the hour; longer ones by the shift."""
LONGEST = timedelta(days=366)
MOST_LOTS = 200
MOST_ROWS = 200
"""Stations listed by name; of more, those with the greatest share of NG."""
BY = ("shift", "station", "line", "lot")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which parts: of shifts that began from `since` to `until`, both included; empty words do not choose."""

    since: date
    until: date
    shift: str = ""
    line: str = ""
    device: str = ""
    station: str = ""
    lot: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of time of a chart: an hour or a shift, what was counted, and what began in it."""

    name: str
    counts: Counts
    began: tuple[str, ...]
    shift: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: a shift, station, line or lot. `told`: what an address needs to choose it."""

    name: str
    detail: str
    counts: Counts
    told: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Quality:
    """What the page shows. `moments` are empty for a lot: a lot has no subgroups."""

    counts: Counts
    moments: tuple[Moment, ...]
    hourly: bool
    defects: tuple[Bar, ...]
    rows: tuple[Row, ...]
    rows_left_out: int
    escapes: Escapes
    cannot_tell: int
    reviewed_because: Mapping[str, int]


class Reader:
    """Reads one scope for one person."""

    def __init__(
        self,
        session: Session,
        person: Person,
        scope: Scope,
        shifts: Iterable[tuple[str, str]],
        zone: tzinfo | None,
    ) -> None:
        self._session, self._scope, self._zone = session, scope, zone
        self._order = dict(shifts)
        every = spots(session)
        self._stations = {
            spot.id: spot
            for spot in every
            if person.role_at(spot.place) is not None
            and scope.line in ("", spot.line)
            and scope.device in ("", spot.device)
            and scope.station in ("", spot.station)
        }
        self._all = len(self._stations) == len(every)

    def read(self, by: str) -> Quality:
        """Everything, with the table by shift, station, line or lot."""
        if self._scope.lot:
            counts, moments, hourly = self._lot_counts(), [], False
        else:
            hourly = self._scope.until - self._scope.since < HOURS_UP_TO
            moments = self._by_hour() if hourly else self._by_shift()
            counts = _sum(m.counts for m in moments)
        told, cannot, because = self._escapes(counts)
        rows = self._rows(by)
        return Quality(
            counts=counts,
            moments=tuple(moments),
            hourly=hourly,
            defects=pareto(self._lot_defects() if self._scope.lot else self._defects()),
            rows=tuple(rows[:MOST_ROWS]),
            rows_left_out=max(0, len(rows) - MOST_ROWS),
            escapes=told,
            cannot_tell=cannot,
            reviewed_because=because,
        )

    def _within(self, table: Any) -> list[ColumnElement[bool]]:
        scope = self._scope
        conditions = [table.day >= scope.since, table.day <= scope.until]
        if scope.shift:
            conditions.append(table.shift == scope.shift)
        if not self._all:
            conditions.append(table.station_id.in_(self._stations))
        return conditions

    def _by_shift(self) -> list[Moment]:
        found = self._session.execute(
            select(
                ShiftVerdicts.shift,
                ShiftVerdicts.recipe_id,
                ShiftVerdicts.engine_id,
                ShiftVerdicts.verdict,
                func.sum(ShiftVerdicts.n),
            )
            .where(*self._within(ShiftVerdicts))
            .group_by(
                ShiftVerdicts.shift, ShiftVerdicts.recipe_id, ShiftVerdicts.engine_id, ShiftVerdicts.verdict
            )
        ).all()
        keyed = [(self._shift_key(row[0]), row[0], row[0], *row[1:]) for row in found]
        return self._moments(keyed)

    def _by_hour(self) -> list[Moment]:
        begin = datetime.combine(self._scope.since, time(), self._zone or datetime.now().astimezone().tzinfo)
        end = begin + (self._scope.until - self._scope.since) + timedelta(days=2)
        conditions = [HourlyVerdicts.hour >= begin, HourlyVerdicts.hour < end]
        if not self._all:
            conditions.append(HourlyVerdicts.station_id.in_(self._stations))
        found = self._session.execute(
            select(
                HourlyVerdicts.hour,
                HourlyVerdicts.shift,
                HourlyVerdicts.recipe_id,
                HourlyVerdicts.engine_id,
                HourlyVerdicts.verdict,
                func.sum(HourlyVerdicts.n),
            )
            .where(*conditions)
            .group_by(
                HourlyVerdicts.hour,
                HourlyVerdicts.shift,
                HourlyVerdicts.recipe_id,
                HourlyVerdicts.engine_id,
                HourlyVerdicts.verdict,
            )
        )
        days = (self._scope.since.isoformat(), self._scope.until.isoformat())
        keyed = [
            ((hour, shift), f"{hour.astimezone(self._zone):%d. %H:%M}", shift, *rest)
            for hour, shift, *rest in found
            # A shift that began before midnight belongs to the day on which it began.
            if days[0] <= shift[:10] <= days[1] and self._scope.shift in ("", shift)
        ]
        return self._moments(keyed)

    def _moments(self, keyed: list[tuple[Any, ...]]) -> list[Moment]:
        sums: defaultdict[Any, Counter[str]] = defaultdict(Counter)
        names: dict[Any, tuple[str, str]] = {}
        versions: defaultdict[Any, set[tuple[str, int]]] = defaultdict(set)
        for key, name, shift, recipe, engine, verdict, n in keyed:
            sums[key][verdict] += int(n)
            names[key] = (name, shift)
            versions[key] |= {("recipe", recipe), ("engine", engine)}
        words = self._version_words({one for held in versions.values() for one in held})
        told, seen = [], set[tuple[str, int]]()
        for place, key in enumerate(sorted(sums)):
            new = versions[key] - seen
            seen |= new
            began = tuple(sorted(words[one] for one in new if words.get(one))) if place else ()
            told.append(Moment(names[key][0], counts_of(sums[key]), began, names[key][1]))
        return told

    def _version_words(self, ids: set[tuple[str, int]]) -> dict[tuple[str, int], str]:
        told: dict[tuple[str, int], str] = {}
        recipes = [i for kind, i in ids if kind == "recipe"]
        for i, name, version in self._session.execute(
            select(RecipeVersion.id, RecipeVersion.name, RecipeVersion.version).where(
                RecipeVersion.id.in_(recipes)
            )
        ):
            told["recipe", i] = f"{name} v{version}" if name else ""
        engines = [i for kind, i in ids if kind == "engine"]
        for i, name, label in self._session.execute(
            select(EngineVersion.id, EngineVersion.name, EngineVersion.version).where(
                EngineVersion.id.in_(engines)
            )
        ):
            told["engine", i] = f"{name}@{label}" if name else ""
        return told

    def _shift_key(self, shift: str) -> tuple[str, str, str]:
        day, _, name = shift.partition(" ")
        return day, self._order.get(name, "99"), name

    def _lot_counts(self) -> Counts:
        found = self._session.execute(
            select(LotVerdicts.verdict, func.sum(LotVerdicts.n))
            .where(LotVerdicts.lot == self._scope.lot, LotVerdicts.station_id.in_(self._stations))
            .group_by(LotVerdicts.verdict)
        )
        return counts_of({verdict: int(n) for verdict, n in found})

    def _defects(self) -> list[tuple[str, int]]:
        found = self._session.execute(
            select(ShiftDefects.label, func.sum(ShiftDefects.n))
            .where(*self._within(ShiftDefects))
            .group_by(ShiftDefects.label)
        )
        return [(label, int(n)) for label, n in found]

    def _lot_defects(self) -> list[tuple[str, int]]:
        found = self._session.execute(
            select(Result.defect, func.count())
            .where(Result.lot == self._scope.lot, Result.defect.is_not(None))
            .where(Result.station_id.in_(self._stations))
            .group_by(Result.defect)
        )
        return [(str(label), n) for label, n in found]

    def _escapes(self, counts: Counts) -> tuple[Escapes, int, dict[str, int]]:
        if self._scope.lot:
            conditions = [
                ReviewedParts.lot == self._scope.lot, ReviewedParts.station_id.in_(self._stations),
            ]  # fmt: skip
        else:
            conditions = self._within(ReviewedParts)
        found = self._session.execute(
            select(
                ReviewedParts.verdict, ReviewedParts.because, ReviewedParts.truth, func.sum(ReviewedParts.n)
            )
            .where(*conditions)
            .group_by(ReviewedParts.verdict, ReviewedParts.because, ReviewedParts.truth)
        )
        settled: Counter[tuple[str, str]] = Counter()
        because: Counter[str] = Counter()
        cannot = 0
        for verdict, why, truth, n in found:
            because[why] += int(n)
            if truth == "NOT_DECIDABLE":
                cannot += int(n)
            elif verdict != "OK" or why == "sample":
                # OK parts that somebody picked say nothing about those that nobody picked.
                settled[verdict if verdict in ("OK", "NOT_OK") else "NOT_DECIDABLE", truth] += int(n)
        strata = [
            Stratum(judged, good=settled[verdict, "OK"], bad=settled[verdict, "NOT_OK"])
            for verdict, judged in (
                ("OK", counts.ok),
                ("NOT_OK", counts.not_ok),
                ("NOT_DECIDABLE", counts.not_decidable),
            )
        ]
        return escapes(*strata), cannot, {why: n for why, n in because.items() if n}

    def _rows(self, by: str) -> list[Row]:
        if self._scope.lot:
            return self._station_rows(
                self._session.execute(
                    select(LotVerdicts.station_id, LotVerdicts.verdict, LotVerdicts.n).where(
                        LotVerdicts.lot == self._scope.lot, LotVerdicts.station_id.in_(self._stations)
                    )
                )
            )
        if by == "lot":
            return self._lot_rows()
        if by == "shift":
            found = self._session.execute(
                select(ShiftVerdicts.shift, ShiftVerdicts.verdict, func.sum(ShiftVerdicts.n))
                .where(*self._within(ShiftVerdicts))
                .group_by(ShiftVerdicts.shift, ShiftVerdicts.verdict)
            )
            sums = _grouped(found)
            return [
                Row(shift, "", counts_of(sums[shift]), {"shift": shift})
                for shift in sorted(sums, key=self._shift_key, reverse=True)
            ]
        found = self._session.execute(
            select(ShiftVerdicts.station_id, ShiftVerdicts.verdict, func.sum(ShiftVerdicts.n))
            .where(*self._within(ShiftVerdicts))
            .group_by(ShiftVerdicts.station_id, ShiftVerdicts.verdict)
        )
        return self._station_rows(found, lines=by == "line")

    def _station_rows(self, found: Iterable[Any], *, lines: bool = False) -> list[Row]:
        sums: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for station, verdict, n in found:
            if station not in self._stations:
                continue
            spot = self._stations[station]
            key: tuple[str, ...] = spot.place if lines else (*spot.place, spot.device, spot.station)
            sums[key][verdict] += int(n)
        rows = []
        for key, counted in sorted(sums.items()):
            site, area, line, *rest = key
            if lines:
                where = " / ".join(word for word in (site, area) if word)
                rows.append(Row(line or "–", where, counts_of(counted), {"line": line}))
            else:
                seen, station_name = rest
                detail = " · ".join(word for word in (line, seen) if word)
                told = {"device": seen, "station": station_name}
                rows.append(Row(station_name, detail, counts_of(counted), told))
        if len(rows) > MOST_ROWS:
            rows.sort(key=lambda row: -row.counts.not_ok / row.counts.total)
        return rows

    def _lot_rows(self) -> list[Row]:
        begin = datetime.combine(self._scope.since, time(), UTC) - timedelta(days=1)
        end = datetime.combine(self._scope.until, time(), UTC) + timedelta(days=2)
        recent = (
            select(LotVerdicts.lot, func.max(LotVerdicts.last_at).label("last"))
            .where(LotVerdicts.last_at >= begin, LotVerdicts.last_at < end)
            .where(*([] if self._all else [LotVerdicts.station_id.in_(self._stations)]))
            .group_by(LotVerdicts.lot)
            .order_by(func.max(LotVerdicts.last_at).desc())
            .limit(MOST_LOTS)
        )
        lots = list(self._session.scalars(recent))
        sums = _grouped(
            self._session.execute(
                select(LotVerdicts.lot, LotVerdicts.verdict, func.sum(LotVerdicts.n))
                .where(LotVerdicts.lot.in_(lots), LotVerdicts.station_id.in_(self._stations))
                .group_by(LotVerdicts.lot, LotVerdicts.verdict)
            )
        )
        return [Row(lot, "", counts_of(sums[lot]), {"lot": lot}) for lot in lots if lot in sums]


def _sum(counts: Iterable[Counts]) -> Counts:
    ok = not_ok = not_decidable = 0
    for one in counts:
        ok, not_ok, not_decidable = ok + one.ok, not_ok + one.not_ok, not_decidable + one.not_decidable
    return Counts(ok, not_ok, not_decidable)


def _grouped(found: Iterable[Any]) -> dict[str, dict[str, int]]:
    sums: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, verdict, n in found:
        sums[name][verdict] = int(n)
    return dict(sums)
