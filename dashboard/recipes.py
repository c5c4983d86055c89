"""Recipes: what every station judges by, their versions side by side, and which version is next."""

from __future__ import annotations

import grpc
from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from lineside.dashboard.current import device_or_404, reading, surroundings, writing
from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.database.result_tables import RecipeVersion
from lineside.dashboard.devices.steering import steering
from lineside.dashboard.people import audit
from lineside.dashboard.people.guard import must, person
from lineside.dashboard.people.rights import Role, needs
from lineside.dashboard.reading.devices import address_of, place_of
from lineside.dashboard.reading.steering import Shelf, shelves
from lineside.dashboard.studio.difference import compare
from lineside.v1 import recipes_pb2
from lineside.v1.client import Failed

blueprint = Blueprint("recipes", __name__)


@blueprint.get("/recipes")
@needs(Role.VIEWER)
def index() -> str:
    """Every recipe."""
    with reading() as session:
        listed = shelves(session, surroundings().book, person())
        return render_template("recipes/recipes.html", shelves=listed)


@blueprint.get("/recipes/<recipe>")
@needs(Role.VIEWER)
def recipe_page(recipe: str) -> str:
    """One recipe: two of its versions side by side, and the stations that judge by it."""
    return _page(recipe)


def _page(recipe: str, said: str = "") -> str:
    with reading() as session:
        shelf = _shelf(session, recipe)
        known = [version for version in shelf.versions if version.text is not None]
        right = _chosen(known, request.args.get("to"), 0)
        left = _chosen(known, request.args.get("from"), 1)
        lines = compare(left.text or "", right.text or "") if left is not None and right is not None else []
        return render_template(
            "recipes/recipe.html",
            shelf=shelf,
            known=known,
            left=left,
            right=right,
            lines=lines,
            said=said,
        )


@blueprint.post("/recipes/<recipe>/roll-back")
@needs(Role.ENGINEER)
def roll_back(recipe: str) -> ResponseReturnValue:
    """Has a station judge by the version before the present one."""
    device, station = station_of_form()
    note("recipe.roll_back", device, {"station": station, "recipe": recipe})
    wanted = recipes_pb2.RollBackRecipeRequest(station=f"devices/-/stations/{station}")
    try:
        with steering(address_of(device), surroundings().config.device_tls) as client:
            ref = client.call(client.recipes.RollBackRecipe, wanted).recipe
    except (Failed, OSError) as error:
        note("recipe.roll_back_failed", device, {"station": station, "why": words_of(error)})
        return _page(recipe, words_of(error)), 502
    return redirect(url_for(".recipe_page", recipe=ref.recipe), 303)


def note(action: str, device: Device, told: dict[str, object]) -> None:
    """Tells the audit what is asked of a device, before it is asked: a change is never without its note."""
    with writing() as session:
        audit.note(session, surroundings().now(), person().name, action, device.device, told)


def station_of_form() -> tuple[Device, str]:
    """The device and station that a form names as `DEVICE/STATION`, which the person may steer."""
    key, _, station = request.form.get("at", "").rpartition("/")
    with reading() as session:
        device = device_or_404(session, key)
        must(Role.ENGINEER, place_of(device))
        listed = select(Station.id).where(Station.device_id == device.id, Station.station == station)
        if session.scalar(listed) is None:
            abort(404)
    return device, station


def words_of(error: Failed | OSError) -> str:
    """What a person is told of a call that failed."""
    if isinstance(error, OSError):
        return f"the certificates for devices cannot be read: {error}"[:300]
    if error.code is grpc.StatusCode.UNAVAILABLE:
        return "the device does not answer"
    return str(error)[:300]


def _shelf(session: Session, recipe: str) -> Shelf:
    found = [one for one in shelves(session, surroundings().book, person()) if one.name == recipe]
    if not found:
        abort(404)
    return found[0]


def _chosen(known: list[RecipeVersion], wish: str | None, otherwise: int) -> RecipeVersion | None:
    for version in known:
        if wish and version.hash == wish:
            return version
    return known[otherwise] if len(known) > otherwise else None
