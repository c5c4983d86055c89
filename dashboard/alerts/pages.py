"""Alerts: what stands now, who knows of it, what was before; what is watched; what was told to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import time

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from lineside.dashboard.alerts import words
from lineside.dashboard.alerts.plan import (
    Plan,
    QuietHours,
    RefusedPlan,
    Rule,
    Severity,
    as_json,
    read_plan,
    write_plan,
)
from lineside.dashboard.current import presenter, reading, surroundings, writing
from lineside.dashboard.live import overview_stream
from lineside.dashboard.people import audit
from lineside.dashboard.people.guard import must, person
from lineside.dashboard.people.rights import Person, Role, needs
from lineside.dashboard.reading import alerts
from lineside.dashboard.reading.devices import place_of
from lineside.dashboard.wall import stream

blueprint = Blueprint("alerts", __name__)

EVERY_S = 2.0
ROWS = 50
MESSAGES = 200
LONGEST_NOTE = 300


@blueprint.get("/alerts")
@needs(Role.VIEWER)
def index() -> str:
    """What stands, and what was."""
    with reading() as session:
        before = alerts.before(session, person(), request.args.get("page", 1, type=int) or 1, ROWS)
    return render_template("alerts/alerts.html", before=before, **_standing(person()))


@blueprint.get("/alerts/events")
@needs(Role.VIEWER)
def events() -> Response:
    """What stands, anew every moment."""
    who = person()

    def draw() -> Mapping[str, object]:
        return {"standing": render_template("alerts/_standing.html", **_standing(who))}

    return stream(overview_stream(draw, EVERY_S, surroundings().stopping))


@blueprint.post("/alerts/<int:alert>/acknowledge")
@needs(Role.REVIEWER)
def acknowledge(alert: int) -> ResponseReturnValue:
    """Says that a person knows of it: it is not told further. Who said so first stays."""
    at, who = surroundings().now(), person()
    with writing() as session:
        found = alerts.device_of(session, alert)
        if found is None:
            abort(404)
        row, device = found
        must(Role.REVIEWER, place_of(device))
        if row.acknowledged_at is None:
            row.acknowledged_at, row.acknowledged_by = at, who.id
            row.note = request.form.get("note", "").strip()[:LONGEST_NOTE]
            detail = {"rule": row.rule, "alert": row.id, "note": row.note}
            audit.note(session, at, who.name, "alert.acknowledge", row.words, detail)
    return redirect(url_for("alerts.index"), 303)


@blueprint.get("/alerts/rules")
@needs(Role.ENGINEER, everywhere=True)
def rules() -> str:
    """What is watched."""
    with reading() as session:
        plan = read_plan(session)
    return render_template("alerts/rules.html", plan=plan, severities=list(Severity), trouble="", done=False)


@blueprint.post("/alerts/rules")
@needs(Role.ENGINEER, everywhere=True)
def change_rules() -> ResponseReturnValue:
    """Other limits, quiet hours, escalation."""
    at = surroundings().now()
    trouble, status = "", 200
    with writing() as session:
        plan = read_plan(session)
        try:
            changed = _plan_of_form(plan)
        except (RefusedPlan, ValueError) as error:
            trouble, status = str(error), 400
        else:
            if changed != plan:
                write_plan(session, changed, at)
                audit.note(session, at, person().name, "alerts.plan", "alerts", as_json(changed))
            plan = changed
    shown = render_template(
        "alerts/rules.html", plan=plan, severities=list(Severity), trouble=trouble, done=not trouble
    )
    return shown, status


@blueprint.get("/alerts/messages")
@needs(Role.ENGINEER, everywhere=True)
def messages() -> str:
    """What was told on which channel, and what could not be."""
    with reading() as session:
        rows = alerts.messages(session, MESSAGES)
        return render_template("alerts/messages.html", rows=rows, headline=_headline)


def _standing(who: Person) -> dict[str, object]:
    with reading() as session:
        rows = alerts.standing(session, who)
    return {"rows": rows, "headline": _headline, "now": surroundings().now()}


def _headline(rule: str, value: float | None) -> str:
    return words.headline(presenter(), rule, value)


def _plan_of_form(before: Plan) -> Plan:
    form = request.form
    rules: dict[str, Rule] = {}
    for kind, rule in before.rules.items():
        limit = _number(form.get(f"{kind}.limit", ""), kind) if rule.limit is not None else None
        rules[kind] = replace(
            rule,
            enabled=form.get(f"{kind}.enabled") == "1",
            severity=Severity.read(form.get(f"{kind}.severity", "")),
            limit=limit,
            hold_min=_number(form.get(f"{kind}.hold", ""), kind),
        )
    begins, ends = form.get("quiet_from", "").strip(), form.get("quiet_to", "").strip()
    quiet = None
    if begins or ends:
        try:
            hours = time.fromisoformat(begins), time.fromisoformat(ends)
        except ValueError:
            raise RefusedPlan("quiet hours are two times of day, as 22:00 and 06:00") from None
        days = frozenset(int(day) for day in form.getlist("quiet_day") if day in set("0123456"))
        quiet = QuietHours(*hours, days)
    return Plan(rules, quiet, _number(form.get("escalate", ""), "escalation"))


def _number(words_: str, what: str) -> float:
    try:
        return float(words_.strip().replace(",", "."))
    except ValueError:
        raise RefusedPlan(f"{what}: '{words_[:20]}' is no number") from None
