"""What a request has at hand: the database, the devices, the reader's language and formats, the time.

The one place that knows where the application keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import cast

from flask import abort, current_app, g, request
from sqlalchemy.orm import Session

from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.devices.doors import Door, Doors
from lineside.dashboard.devices.recipes import RecipeCards
from lineside.dashboard.live import LivePages
from lineside.dashboard.people.rights import Person
from lineside.dashboard.present import Presenter
from lineside.dashboard.reading.devices import DeviceBook, address_of, place_of
from lineside.dashboard.texts import DEFAULT_LANGUAGE, LANGUAGES

EXTENSION = "lineside"
LANGUAGE_COOKIE = "lang"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What `create_app` was given. `stopping` is set when the server is going down."""

    config: DashboardConfig
    database: Database
    book: DeviceBook
    doors: Doors
    cards: RecipeCards
    now: Callable[[], datetime]
    stopping: Event
    live_pages: LivePages


def surroundings() -> Surroundings:
    """Of the application that handles this request."""
    return cast(Surroundings, current_app.extensions[EXTENSION])


@contextmanager
def reading() -> Iterator[Session]:
    """A session that reads."""
    with surroundings().database.reading() as session:
        yield session


@contextmanager
def writing() -> Iterator[Session]:
    """A session whose changes are kept when the block ends."""
    with surroundings().database.writing() as session:
        yield session


def device_or_404(session: Session, key: str) -> Device:
    """The device a path names, or the page that says there is none: also for who may not look at its line."""
    found = surroundings().book.find(session, key)
    who = cast(Person | None, g.get("person"))
    if found is None or who is None or who.role_at(place_of(found)) is None:
        abort(404)
    return found


def door_to(device: Device) -> Door:
    """The way to a device."""
    return surroundings().doors.to(address_of(device))


def language() -> str:
    """`?lang=`, else the cookie, else what the browser asks for, else English."""
    for wish in (request.args.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if wish is not None and wish in LANGUAGES:
            return wish
    # By primary tag: who reads de-AT first reads German rather than an English further down.
    for tag, _quality in request.accept_languages:
        primary = tag.split("-")[0].lower()
        if primary in LANGUAGES:
            return primary
    return DEFAULT_LANGUAGE


def presenter() -> Presenter:
    """Formats for the reader of this request."""
    return Presenter(language(), surroundings().config.timezone)
