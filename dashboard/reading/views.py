"""Devices and stations as shown: frozen values that say how far they may be believed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lineside.dashboard.devices.values import Camera, Counts, Device, Result, Station

WATCH_SILENT_AFTER_S = 20.0
"""A watch gives a word at least every ten seconds; without one for this long it counts as broken."""


class Contact(StrEnum):
    """How far what is shown may be believed."""

    NEVER = "never"  # not heard yet
    LIVE = "live"
    SILENT = "silent"  # was heard, and is not any more


@dataclass(frozen=True, slots=True)
class DeviceView:
    """What is known now. `silent_for_s` is None before the first word; ages are as of now.

    `now` is the device's wall time, so that a device whose clock is wrong still shows right ages.
    """

    key: str
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


def contact_of(
    heard_at: datetime | None, watch_heard_at: datetime | None, now: datetime, silent_after_s: float
) -> tuple[Contact, float | None]:
    """Whether a device is there, from when it last answered and when its results last gave a word."""
    if heard_at is None:
        return Contact.NEVER, None
    answered = max(0.0, (now - heard_at).total_seconds())
    if answered > silent_after_s:
        return Contact.SILENT, answered
    if watch_heard_at is None:
        return Contact.NEVER, None
    watched = max(0.0, (now - watch_heard_at).total_seconds())
    if watched > max(WATCH_SILENT_AFTER_S, silent_after_s):
        return Contact.SILENT, watched
    return Contact.LIVE, answered
