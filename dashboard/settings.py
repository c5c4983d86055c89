"""What a plant sets for everybody: shifts, and how long results are kept. For admins."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from lineside.dashboard.current import reading, surroundings, writing
from lineside.dashboard.labels.policy import read_policy
from lineside.dashboard.people import audit
from lineside.dashboard.people.guard import person
from lineside.dashboard.people.rights import Role, needs
from lineside.dashboard.plant import MOST_SHIFTS, Plant, RefusedSetting, read_plant, write_plant

blueprint = Blueprint("settings", __name__)


@blueprint.get("/settings")
@needs(Role.ADMIN, everywhere=True)
def index() -> ResponseReturnValue:
    """As it is."""
    return _page()


@blueprint.post("/settings")
@needs(Role.ADMIN, everywhere=True)
def change() -> ResponseReturnValue:
    """As it should be from now on."""
    form, at = request.form, surroundings().now()
    names, begins = form.getlist("name")[:MOST_SHIFTS], form.getlist("begins")[:MOST_SHIFTS]
    shifts = tuple(
        (name.strip(), begin.strip())
        for name, begin in zip(names, begins, strict=False)
        if name.strip() or begin.strip()
    )
    days = form.get("keep_days", "").strip()
    try:
        if not (days.isascii() and days.isdigit() and len(days) < 6):
            raise RefusedSetting("days are a whole number")
        plant = Plant(shifts, int(days))
    except RefusedSetting as error:
        return _page(trouble=str(error), status=400)
    with writing() as session:
        before = read_plant(session, surroundings().config)
        if plant != before:
            write_plant(session, plant, at)
            detail = {"shifts": [list(shift) for shift in plant.shifts], "keep_days": plant.keep_days}
            audit.note(session, at, person().name, "settings.plant", "plant", detail)
    return _page(done=True)


def _page(*, trouble: str = "", done: bool = False, status: int = 200) -> ResponseReturnValue:
    config = surroundings().config
    with reading() as session:
        plant = read_plant(session, config)
        policy = read_policy(session, config.sample_ok)
    page = render_template(
        "settings/settings.html",
        plant=plant,
        policy=policy,
        config=config,
        spare=max(1, min(2, MOST_SHIFTS - len(plant.shifts))),
        trouble=trouble,
        done=done,
    )
    return page, status
