"""The fleet: what needs attention first, then every station as a row. First for whoever walks past."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, render_template, request

from lineside.dashboard.current import presenter, reading, surroundings
from lineside.dashboard.live import overview_stream
from lineside.dashboard.people.guard import person
from lineside.dashboard.people.rights import Person, Role, needs
from lineside.dashboard.reading.fleet import Filter, FleetView, look
from lineside.dashboard.reading.views import Contact
from lineside.dashboard.wall import stream

blueprint = Blueprint("fleet", __name__)

EVERY_S = 1.5
NOBODY_AFTER_S = 20.0
MOST_CONCERNED = 12
ROWS = 100
"""Rows of one page: more than anybody reads at once."""


@blueprint.get("/")
@needs(Role.VIEWER)
def index() -> str:
    """The page."""
    return render_template("fleet/fleet.html", **_context(person()))


@blueprint.get("/events")
@needs(Role.VIEWER)
def events() -> Response:
    """Its rows, anew every moment, for the same filter."""
    who = person()

    def draw() -> Mapping[str, object]:
        context = _context(who)
        return {
            "attention": render_template("fleet/_attention.html", **context),
            "rows": render_template("fleet/_rows.html", **context),
            "tree": render_template("fleet/_tree.html", **context),
            "clock": presenter().clock(surroundings().now()),
        }

    return stream(overview_stream(draw, EVERY_S, surroundings().stopping))


def _context(who: Person) -> dict[str, object]:
    told = request.args
    chosen = Filter(
        site=told.get("site", ""),
        area=told.get("area", ""),
        line=told.get("line", ""),
        label=told.get("label", ""),
        words=told.get("q", "")[:100],
    )
    with reading() as session:
        view = look(session, surroundings().book, who, chosen)
    page = told.get("page", 1, type=int) or 1
    pages = max(1, -(-len(view.rows) // ROWS))
    page = min(max(page, 1), pages)
    kept = {
        name: value for name in ("site", "area", "line", "label", "q", "more") if (value := told.get(name))
    }
    return {
        "view": view,
        "rows": view.rows[(page - 1) * ROWS : page * ROWS],
        "concerned": view.concerned[:MOST_CONCERNED],
        "left_out": max(0, len(view.concerned) - MOST_CONCERNED),
        "chosen": chosen,
        "kept": kept,
        "page": page,
        "pages": pages,
        "more": told.get("more") == "1",
        "nobody_s": _nobody_follows_for(view),
        "now": surroundings().now(),
    }


def _nobody_follows_for(view: FleetView) -> float | None:
    """Seconds for which no device at all was heard; None while some are, or none ever was."""
    if view.newest_heard_at is None or any(row.contact is Contact.LIVE for row in view.rows):
        return None
    silent = (surroundings().now() - view.newest_heard_at).total_seconds()
    return silent if silent > NOBODY_AFTER_S else None
