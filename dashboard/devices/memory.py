"""The last that is known of one device: bounded, thread-safe, and never pretending to be newer than it is.

Keeps the last KEPT results of every station, today's counts, the device's, stations' and cameras'
state, and when each was heard. Whoever shows it asks for a view, which says how old it is.
Knows no network: the follower and the probe tell it what they heard.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum

from lineside.dashboard.devices.values import Camera, Counts, Device, Result, Station, Verdict

KEPT = 60
"""Results kept for each station."""
STATIONS_KEPT = 200
"""Stations remembered of one device: a device that makes up names cannot fill the memory."""
WATCH_SILENT_AFTER_S = 20.0
"""A watch gives a word at least every ten seconds; without one for this long it counts as broken."""


class Contact(StrEnum):
    """How far what is shown may be believed."""

    NEVER = "never"  # not heard since the dashboard started
    LIVE = "live"
    SILENT = "silent"  # was heard, and is not any more


@dataclass(frozen=True, slots=True)
class DeviceView:
    """What is known now. `version` grows with every change; `silent_for_s` is None before the first word.

    Ages of the cameras' frames are as of now. `now` is the device's wall time, so that a device whose
    clock is wrong still shows right ages.
    """

    version: int
    contact: Contact
    silent_for_s: float | None
    trouble: str
    device: Device | None
    stations: tuple[Station, ...]
    cameras: tuple[Camera, ...]
    now: datetime

    def station(self, name: str) -> Station | None:
        """The station of that name as last heard."""
        return next((s for s in self.stations if s.station == name), None)


@dataclass(frozen=True, slots=True)
class StationView:
    """One station's last results, oldest first, and what was counted today."""

    results: tuple[Result, ...]
    counts: Counts


@dataclass(slots=True)
class _Tally:
    day: date
    since: datetime | None
    by_verdict: dict[Verdict, int]


class History:
    """What a device had when it was first followed, gathered newest first; bounded like the memory."""

    def __init__(self, today: date, zone: tzinfo | None) -> None:
        self.today = today
        self.newest = 0
        self.rings: dict[str, deque[Result]] = {}
        self.tallies: dict[str, _Tally] = {}
        self.reached_yesterday = False
        self._zone = zone

    def add_older(self, result: Result) -> None:
        """Takes a result that is older than all taken before."""
        self.newest = max(self.newest, result.sequence)
        if len(self.rings) >= STATIONS_KEPT and result.station not in self.rings:
            return
        ring = self.rings.setdefault(result.station, deque(maxlen=KEPT))
        if len(ring) < KEPT:
            ring.appendleft(result)
        day = _day_of(result, self._zone)
        if day == self.today:
            tally = self.tallies.setdefault(result.station, _Tally(self.today, None, {}))
            tally.by_verdict[result.verdict] = tally.by_verdict.get(result.verdict, 0) + 1
            tally.since = result.decided_at
        elif day is not None and day < self.today:
            self.reached_yesterday = True


class DeviceMemory:
    """What is known of one device.

    `now` gives aware wall time, `monotonic` seconds of a clock that never steps; `zone` says when
    a day begins (None: the machine's own zone).
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        zone: tzinfo | None,
        silent_after_s: float,
    ) -> None:
        self._now, self._monotonic, self._zone = now, monotonic, zone
        self._silent_after_s = silent_after_s
        self._changed = threading.Condition()
        self._version = 0
        self._cursor: int | None = None
        self._device: Device | None = None
        self._stations: tuple[Station, ...] = ()
        self._cameras: tuple[Camera, ...] = ()
        self._rings: dict[str, deque[Result]] = {}
        self._tallies: dict[str, _Tally] = {}
        self._probed_at: float | None = None
        self._watched_at: float | None = None
        self._clock_ahead = timedelta(0)
        self._probe_trouble = ""
        self._watch_trouble = ""

    @property
    def cursor(self) -> int | None:
        """The greatest sequence dealt with; None before the first history."""
        with self._changed:
            return self._cursor

    def new_history(self) -> History:
        """An empty history for `begin`."""
        return History(self._now().astimezone(self._zone).date(), self._zone)

    def begin(self, history: History, *, whole_day: bool) -> None:
        """Forgets all results, starts from `history`. Not `whole_day`: counts say since when they count."""
        with self._changed:
            self._rings, self._tallies = history.rings, history.tallies
            if whole_day:
                for tally in self._tallies.values():
                    tally.since = None
            self._cursor = history.newest
            self._watched_at = self._monotonic()
            self._change()

    def remember(self, result: Result) -> bool:
        """Takes the next result of the watch; False when it was dealt with before."""
        with self._changed:
            self._watched_at = self._monotonic()
            self._watch_trouble = ""
            if self._cursor is not None and result.sequence <= self._cursor:
                return False
            self._cursor = result.sequence
            if result.station in self._rings or len(self._rings) < STATIONS_KEPT:
                self._rings.setdefault(result.station, deque(maxlen=KEPT)).append(result)
                self._count(result)
            self._change()
            return True

    def watch_lives(self, sequence: int) -> None:
        """The watch said that everything up to `sequence` was sent."""
        with self._changed:
            self._watched_at = self._monotonic()
            self._watch_trouble = ""
            self._cursor = max(self._cursor or 0, sequence)
            self._change()

    def seen(self, device: Device, stations: Sequence[Station], cameras: Sequence[Camera]) -> None:
        """The device answered and says that it is so now."""
        with self._changed:
            self._probed_at = self._monotonic()
            self._device = device
            if device.time is not None:
                self._clock_ahead = device.time - self._now()
            self._stations = tuple(stations[:STATIONS_KEPT])
            self._cameras = tuple(cameras[:STATIONS_KEPT])
            self._probe_trouble = ""
            self._change()

    def probe_failed(self, what: str) -> None:
        """The device did not say how it is; `what` is for people."""
        with self._changed:
            if self._probe_trouble != what:
                self._probe_trouble = what
                self._change()

    def watch_failed(self, what: str) -> None:
        """The device's results do not come; `what` is for people."""
        with self._changed:
            if self._watch_trouble != what:
                self._watch_trouble = what
                self._change()

    def view(self) -> DeviceView:
        """What is known now, with ages as of now."""
        with self._changed:
            contact, silent_for = self._contact()
            since_probe = self._monotonic() - self._probed_at if self._probed_at is not None else 0.0
            cameras = tuple(
                c
                if c.last_frame_age_s is None
                else replace(c, last_frame_age_s=c.last_frame_age_s + since_probe)
                for c in self._cameras
            )
            return DeviceView(
                version=self._version,
                contact=contact,
                silent_for_s=silent_for,
                trouble=self._probe_trouble or self._watch_trouble,
                device=self._device,
                stations=self._stations,
                cameras=cameras,
                now=self._now() + self._clock_ahead,
            )

    def station_view(self, station: str) -> StationView:
        """The last results and today's counts of one station; empty for one never heard of."""
        today = self._now().astimezone(self._zone).date()
        with self._changed:
            tally = self._tallies.get(station)
            counts = Counts()
            if tally is not None and tally.day == today:
                counts = Counts(
                    ok=tally.by_verdict.get(Verdict.OK, 0),
                    not_ok=tally.by_verdict.get(Verdict.NOT_OK, 0),
                    # What this software does not understand wants a person as well.
                    not_decidable=tally.by_verdict.get(Verdict.NOT_DECIDABLE, 0)
                    + tally.by_verdict.get(Verdict.UNKNOWN, 0),
                    since=tally.since,
                )
            return StationView(tuple(self._rings.get(station, ())), counts)

    def station_names(self) -> tuple[str, ...]:
        """Every station heard of: those the device lists, then those only results speak of."""
        with self._changed:
            listed = [s.station for s in self._stations]
            return tuple(dict.fromkeys([*listed, *sorted(self._rings)]))

    def find(self, result_id: str) -> Result | None:
        """A result that is still remembered."""
        with self._changed:
            for ring in self._rings.values():
                for result in ring:
                    if result.result_id == result_id:
                        return result
        return None

    def wait_beyond(self, version: int, timeout_s: float) -> int:
        """Waits until there is a newer version than `version`, at most `timeout_s`; gives the version now."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > version, timeout_s)
            return self._version

    def watch_is_stale(self) -> bool:
        """Whether the watch has been silent for longer than its contract allows."""
        with self._changed:
            return self._watched_at is not None and self._age(self._watched_at) > WATCH_SILENT_AFTER_S

    def _contact(self) -> tuple[Contact, float | None]:
        if self._device is None or self._probed_at is None:
            return Contact.NEVER, None
        probe_age, watch_age = self._age(self._probed_at), self._age(self._watched_at)
        if probe_age > self._silent_after_s:
            return Contact.SILENT, probe_age
        if self._watched_at is None:
            return Contact.NEVER, None
        if watch_age > WATCH_SILENT_AFTER_S:
            return Contact.SILENT, watch_age
        return Contact.LIVE, probe_age

    def _age(self, at: float | None) -> float:
        return float("inf") if at is None else max(0.0, self._monotonic() - at)

    def _count(self, result: Result) -> None:
        day = _day_of(result, self._zone)
        tally = self._tallies.get(result.station)
        if day is None or (tally is not None and day < tally.day):
            return
        if tally is None or day > tally.day:
            tally = self._tallies[result.station] = _Tally(day, None, {})
        tally.by_verdict[result.verdict] = tally.by_verdict.get(result.verdict, 0) + 1

    def _change(self) -> None:
        self._version += 1
        self._changed.notify_all()


def _day_of(result: Result, zone: tzinfo | None) -> date | None:
    return result.decided_at.astimezone(zone).date() if result.decided_at else None
