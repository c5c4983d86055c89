"""What a request has at hand: the fleet, the reader's language and formats, the time.

The one place that knows where the application keeps them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import cast

from flask import abort, current_app, request

from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.devices.fleet import Fleet, FollowedDevice
from lineside.dashboard.live import LivePages
from lineside.dashboard.present import Presenter
from lineside.dashboard.texts import DEFAULT_LANGUAGE, LANGUAGES

EXTENSION = "lineside"
LANGUAGE_COOKIE = "lang"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What `create_app` was given. `stopping` is set when the server is going down."""

    config: DashboardConfig
    fleet: Fleet
    now: Callable[[], datetime]
    stopping: Event
    live_pages: LivePages


def surroundings() -> Surroundings:
    """Of the application that handles this request."""
    return cast(Surroundings, current_app.extensions[EXTENSION])


def fleet() -> Fleet:
    """The followed devices."""
    return surroundings().fleet


def device_or_404(key: str) -> FollowedDevice:
    """The device a path names, or the page that says there is none."""
    found = fleet().find(key)
    if found is None:
        abort(404)
    return found


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
