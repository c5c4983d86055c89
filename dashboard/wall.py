"""The live wall: one station large, or all stations as rows. First for the operator and the passer-by.

Draws what the followed devices' memories hold; asks no device anything itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flask import Blueprint, Response, abort, render_template, request, stream_with_context

from lineside.dashboard import present
from lineside.dashboard.current import device_or_404, fleet, presenter, surroundings
from lineside.dashboard.devices.fleet import FollowedDevice
from lineside.dashboard.devices.memory import DeviceView, StationView
from lineside.dashboard.live import STRIP, News, cursor_from, news_since, overview_stream, station_stream

blueprint = Blueprint("wall", __name__)

OVERVIEW_EVERY_S = 1.0
LATEST_NOT_OK = 6


@dataclass(frozen=True, slots=True)
class Row:
    """One station of the overview; `station` is empty for a device without any."""

    device: FollowedDevice
    device_key: str
    view: DeviceView
    station: str
    seen: StationView


@blueprint.get("/")
def index() -> str:
    """All stations as rows; the one station itself where there is only one."""
    places = [(d, s) for d in fleet().devices for s in d.memory.station_names()]
    if len(places) == 1 and len(fleet().devices) == 1:
        return _station_page(*places[0])
    return render_template("wall/overview.html", rows=_rows(), **_row_words())


@blueprint.get("/events")
def overview_events() -> Response:
    """The overview's rows, anew every second."""

    def draw() -> Mapping[str, object]:
        return {
            "rows": render_template("wall/_rows.html", rows=_rows(), **_row_words()),
            "clock": presenter().clock(surroundings().now()),
        }

    return _stream(overview_stream(draw, OVERVIEW_EVERY_S, surroundings().stopping))


@blueprint.get("/stations/<device>/<station>")
def station_page(device: str, station: str) -> str:
    """One station, large."""
    found = device_or_404(device)
    view = found.memory.view()
    if view.device is not None and station not in found.memory.station_names():
        abort(404)
    return _station_page(found, station)


@blueprint.get("/stations/<device>/<station>/events")
def station_events(device: str, station: str) -> Response:
    """One station's results and state as they come, after `Last-Event-ID` or `?after=`."""
    found = device_or_404(device)
    cursor = cursor_from(request.headers.get("Last-Event-ID"), request.args.get("after"))

    def draw_results(news: News, seen: StationView, view: DeviceView) -> Mapping[str, object]:
        context = _context(found, station, seen, view)
        return {
            "reset": news.reset,
            "count": len(news.results),
            "newest": render_template("wall/_newest.html", **context),
            "cells": render_template("wall/_cells.html", **{**context, "results": news.results}),
            "bad": render_template("wall/_bad.html", **context),
        }

    def draw_now(seen: StationView, view: DeviceView) -> Mapping[str, object]:
        context = _context(found, station, seen, view)
        return {
            "contact": view.contact.value,
            "banner": render_template("wall/_banner.html", **context),
            "status": render_template("wall/_status.html", **context),
            "counts": render_template("wall/_counts.html", **context),
            "clock": presenter().clock(surroundings().now()),
        }

    return _stream(
        station_stream(
            found.memory,
            station,
            cursor,
            draw_results=draw_results,
            draw_now=draw_now,
            stopping=surroundings().stopping,
        )
    )


def _station_page(device: FollowedDevice, station: str) -> str:
    view, seen = device.memory.view(), device.memory.station_view(station)
    return render_template("wall/station.html", **_context(device, station, seen, view))


def _context(device: FollowedDevice, station: str, seen: StationView, view: DeviceView) -> dict[str, object]:
    """What the station's templates draw from."""
    newest = seen.results[-1] if seen.results else None
    card = device.known_card(newest.recipe) if newest else None
    state = view.station(station)
    cameras = state.cameras if state else ()
    return {
        "device_key": fleet().key(device),
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
        "places": [(fleet().key(d), s) for d in fleet().devices for s in d.memory.station_names()],
        "now": surroundings().now(),
    }


def _rows() -> list[Row]:
    rows = []
    for device in fleet().devices:
        key, view = fleet().key(device), device.memory.view()
        for station in device.memory.station_names() or ("",):
            rows.append(Row(device, key, view, station, device.memory.station_view(station)))
    return rows


def _row_words() -> dict[str, object]:
    return {"age_of": present.age_of, "strip": STRIP, "now": surroundings().now()}


def _stream(events: Iterator[str]) -> Response:
    """The events as an answer that ends with its place given back; 503 when all places are taken."""
    places = surroundings().live_pages
    if not places.enter():
        return Response("too many live pages\n", 503, {"Retry-After": "10"}, mimetype="text/plain")
    response = Response(stream_with_context(events), mimetype="text/event-stream")
    # On close and not at the generator's end: a client may leave before the first event.
    response.call_on_close(places.leave)
    response.headers["X-Accel-Buffering"] = "no"
    return response
