"""The live wall: one station large. First for the operator and the passer-by.

Draws what the database holds; asks no device anything itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flask import Blueprint, Response, abort, render_template, request, stream_with_context

from lineside.dashboard import present
from lineside.dashboard.cards import known_card
from lineside.dashboard.current import device_or_404, presenter, reading, surroundings
from lineside.dashboard.live import STRIP, News, cursor_from, news_since, station_stream
from lineside.dashboard.people.guard import still_signed_in
from lineside.dashboard.people.rights import Role, needs
from lineside.dashboard.reading.devices import StationReader, station_names
from lineside.dashboard.reading.views import DeviceView, StationView

blueprint = Blueprint("wall", __name__)

LATEST_NOT_OK = 6


def _reader(device: str, station: str) -> StationReader:
    """For the station that a path names, or the page that says there is none."""
    with reading() as session:
        row = device_or_404(session, device)
        if row.heard_at is not None and station not in station_names(session, row.id):
            abort(404)
        return StationReader(surroundings().book, surroundings().database, row.id, station)


@blueprint.get("/stations/<device>/<station>")
@needs(Role.VIEWER)
def station_page(device: str, station: str) -> str:
    """One station, large."""
    found = _reader(device, station).look()
    if found is None:
        abort(404)
    return render_template("wall/station.html", **_context(station, found[1], found[0]))


@blueprint.get("/stations/<device>/<station>/events")
@needs(Role.VIEWER)
def station_events(device: str, station: str) -> Response:
    """One station's results and state as they come, after `Last-Event-ID` or `?after=`."""
    reader = _reader(device, station)
    cursor = cursor_from(request.headers.get("Last-Event-ID"), request.args.get("after"))

    def draw_results(news: News, seen: StationView, view: DeviceView) -> Mapping[str, object]:
        context = _context(station, seen, view)
        return {
            "reset": news.reset,
            "count": len(news.results),
            "newest": render_template("wall/_newest.html", **context),
            "cells": render_template("wall/_cells.html", **{**context, "results": news.results}),
            "bad": render_template("wall/_bad.html", **context),
        }

    def draw_now(seen: StationView, view: DeviceView) -> Mapping[str, object]:
        context = _context(station, seen, view)
        return {
            "contact": view.contact.value,
            "banner": render_template("wall/_banner.html", **context),
            "status": render_template("wall/_status.html", **context),
            "counts": render_template("wall/_counts.html", **context),
            "clock": presenter().clock(surroundings().now()),
        }

    return stream(
        station_stream(
            reader.look,
            cursor,
            draw_results=draw_results,
            draw_now=draw_now,
            stopping=surroundings().stopping,
        )
    )


def _context(station: str, seen: StationView, view: DeviceView) -> dict[str, object]:
    """What the station's templates draw from."""
    newest = seen.results[-1] if seen.results else None
    card = known_card(newest.recipe) if newest else None
    state = view.station(station)
    cameras = state.cameras if state else ()
    return {
        "device_key": view.key,
        "station": station,
        "view": view,
        "state": state,
        "cameras": [c for c in view.cameras if c.camera in cameras],
        "newest": newest,
        "age": present.age_of(newest, view.now) if newest else None,
        "quiet_after": present.QUIET_AFTER_S,
        "card": card,
        "overlay": present.overlay(newest, near=True) if newest else None,
        "questions": present.questions(newest, card) if newest and card else (),
        "headline": present.headline(newest) if newest else None,
        "results": news_since(seen.results, None).results,
        "bad": present.latest_not_ok(seen.results, LATEST_NOT_OK),
        "bad_among": len(seen.results),
        "counts": seen.counts,
        "strip": STRIP,
        "now": surroundings().now(),
    }


def stream(events: Iterator[str]) -> Response:
    """The events as an answer that ends with its place given back; 503 when all places are taken."""
    places = surroundings().live_pages
    if not places.enter():
        return Response("too many live pages\n", 503, {"Retry-After": "10"}, mimetype="text/plain")
    response = Response(stream_with_context(_while_signed_in(events)), mimetype="text/event-stream")
    # On close and not at the generator's end: a client may leave before the first event.
    response.call_on_close(places.leave)
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _while_signed_in(events: Iterator[str]) -> Iterator[str]:
    """The events until the reader is signed out: who is shut out sees nothing more, on open pages as well."""
    for event in events:
        if not still_signed_in():
            return
        yield event
