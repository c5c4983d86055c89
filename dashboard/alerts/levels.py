"""How each thing that a rule watches is, from what is known of a device and its stations. Pure functions.

What a silent device said last is not repeated as if it was so now: its levels are unknown. Between the limit
at which an alert begins and the one at which it ends lies room, so that it does not flutter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lineside.dashboard.alerts.plan import Rule
from lineside.dashboard.alerts.standing import Level
from lineside.dashboard.people.rights import Place
from lineside.dashboard.present import wilson
from lineside.dashboard.reading.views import Contact

FEWEST_PARTS = 30
"""Below so many no rate is believed."""
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class StationSeen:
    """A station: its last verdicts (`strip`, oldest first), and this hour's and the last one's parts."""

    id: int
    name: str
    ready: bool
    strip: str
    waiting: int
    recent: int
    recent_review: int


@dataclass(frozen=True, slots=True)
class DeviceSeen:
    """A device and its stations; None is not known."""

    id: int
    name: str
    contact: Contact
    silent_for_s: float | None
    outbox_oldest_s: float | None
    disk_free_bytes: int | None
    temperature_c: float | None
    certificate_left_s: float | None
    clock_synchronised: bool
    place: Place = ("", "", "")
    stations: tuple[StationSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """How one thing is. `key` names it within its rule; `value` is in the rule's unit."""

    key: str
    level: Level
    value: float | None
    device_id: int
    station_id: int | None
    words: str


def observe(rule: Rule, device: DeviceSeen) -> Iterator[Observed]:
    """Everything a rule watches at a device."""
    live = device.contact is Contact.LIVE
    if rule.kind in OF_STATIONS:
        for station in device.stations:
            level, value = OF_STATIONS[rule.kind](rule.limit or 0.0, station)
            yield Observed(
                f"{device.name}/{station.name}",
                level if live else Level.UNKNOWN,
                value,
                device.id,
                station.id,
                f"{station.name} · {device.name}",
            )
        return
    level, value = OF_DEVICES[rule.kind](rule.limit or 0.0, device)
    if not live and rule.kind not in WITHOUT_CONTACT:
        level = Level.UNKNOWN
    yield Observed(device.name, level, value, device.id, None, device.name)


def _above(value: float | None, limit: float, good: float) -> tuple[Level, float | None]:
    if value is None:
        return Level.UNKNOWN, None
    return (Level.BAD if value >= limit else Level.GOOD if value <= good else Level.BETWEEN), value


def _below(value: float | None, limit: float, good: float) -> tuple[Level, float | None]:
    if value is None:
        return Level.UNKNOWN, None
    return (Level.BAD if value < limit else Level.GOOD if value >= good else Level.BETWEEN), value


def _silent(_limit: float, device: DeviceSeen) -> tuple[Level, float | None]:
    if device.contact is Contact.NEVER:
        return Level.UNKNOWN, None  # one that was never there is no loss; the fleet page shows it
    minutes = device.silent_for_s / 60 if device.silent_for_s is not None else None
    return (Level.BAD if device.contact is Contact.SILENT else Level.GOOD), minutes


def _outbox(limit: float, device: DeviceSeen) -> tuple[Level, float | None]:
    return _above((device.outbox_oldest_s or 0.0) / 60, limit, limit / 2)


def _disk(limit: float, device: DeviceSeen) -> tuple[Level, float | None]:
    free = device.disk_free_bytes / GIB if device.disk_free_bytes is not None else None
    return _below(free, limit, limit * 1.25)


def _hot(limit: float, device: DeviceSeen) -> tuple[Level, float | None]:
    return _above(device.temperature_c, limit, limit - 5)


def _certificate(limit: float, device: DeviceSeen) -> tuple[Level, float | None]:
    left = device.certificate_left_s / 86400 if device.certificate_left_s is not None else None
    return _below(left, limit, limit)


def _clock(_limit: float, device: DeviceSeen) -> tuple[Level, float | None]:
    return (Level.GOOD if device.clock_synchronised else Level.BAD), None


def _not_ready(_limit: float, station: StationSeen) -> tuple[Level, float | None]:
    return (Level.GOOD if station.ready else Level.BAD), None


def _ng_streak(limit: float, station: StationSeen) -> tuple[Level, float | None]:
    streak = len(station.strip) - len(station.strip.rstrip("n"))
    return _above(streak, limit, 0)


def _review_rate(limit: float, station: StationSeen) -> tuple[Level, float | None]:
    if station.recent < FEWEST_PARTS:
        return Level.UNKNOWN, None
    low, _high = wilson(station.recent_review, station.recent)
    rate = 100 * station.recent_review / station.recent
    # Begins only where chance does not explain it; ends where the share itself is well below.
    bad = 100 * low >= limit
    return (Level.BAD if bad else Level.GOOD if rate <= 0.8 * limit else Level.BETWEEN), rate


def _waiting(limit: float, station: StationSeen) -> tuple[Level, float | None]:
    return _above(station.waiting, limit, limit / 2)


OF_DEVICES = {
    "device_silent": _silent,
    "outbox": _outbox,
    "disk": _disk,
    "hot": _hot,
    "certificate": _certificate,
    "clock": _clock,
}
OF_STATIONS = {
    "not_ready": _not_ready,
    "ng_streak": _ng_streak,
    "review_rate": _review_rate,
    "waiting": _waiting,
}
WITHOUT_CONTACT = frozenset({"device_silent", "certificate"})
"""Known also while the device says nothing: a certificate goes on running out."""
