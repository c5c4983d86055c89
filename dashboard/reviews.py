"""The review queue: one part large beside its golden part, one key a decision. First for a person at a desk.

Works without scripts: every key is a button of a form. What another reader decided is shown only where two
differ, to the engineer who settles it.
"""

from __future__ import annotations

import math
from typing import Any

import grpc
from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from lineside.dashboard import present
from lineside.dashboard.cards import known_card
from lineside.dashboard.current import door_to, reading, surroundings, writing
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.quality_tables import GoldenPicture
from lineside.dashboard.database.result_tables import Result as ResultRow
from lineside.dashboard.devices.channel import PictureRefused
from lineside.dashboard.devices.evidence import EVIDENCE_ID
from lineside.dashboard.devices.recipes import RecipeCard
from lineside.dashboard.devices.values import Result
from lineside.dashboard.labels import golden
from lineside.dashboard.labels.desk import Desk, RefusedDecision, Said
from lineside.dashboard.labels.policy import Policy, RefusedPolicy, read_policy, write_policy
from lineside.dashboard.labels.settle import Decision
from lineside.dashboard.people import audit
from lineside.dashboard.people.guard import must, person
from lineside.dashboard.people.rights import Role, needs
from lineside.dashboard.reading import queue
from lineside.dashboard.reading.devices import place_of
from lineside.dashboard.reading.spots import Spot

blueprint = Blueprint("reviews", __name__)

MOST_KEYS = 9
WORDS = (
    "review_nothing_to_undo",
    "review_share_refused",
    "review_engineer_only",
    "golden_kept",
    "golden_not_settled",
    "golden_no_picture",
    "golden_full",
    "golden_too_large",
)
"""What may be said of the last action; anything else in the address says nothing."""
LONGEST_LOOK_S = 3600.0


@blueprint.get("/review")
@needs(Role.REVIEWER)
def index() -> ResponseReturnValue:
    """The next part, or the one that `?part=` names."""
    wish, who = _wish(), person()
    with reading() as session:
        stations = queue.stations_for(session, who, Role.REVIEWER, wish)
        ahead = queue.ahead(session, who, stations, wish) if stations else []
        named = request.args.get("part", "")
        shown = queue.one(session, stations, named) if named else next(iter(ahead), None)
        if named and shown is None:
            abort(404)
        policy = _policy(session)
        desk = Desk(surroundings().database, session, who, policy, surroundings().now())
        last = desk.last()
        context = {
            "wish": wish,
            "word": request.args.get("word") if request.args.get("word") in WORDS else None,
            "kept": _kept(),
            "counts": queue.counts(session, who, stations),
            "ahead": ahead,
            "shown": shown,
            "policy": policy,
            "last": last,
            "last_row": session.get(ResultRow, last.result) if last is not None else None,
            "may_set": (who.role or 0) >= Role.ADMIN,
            **(_shown(session, shown, stations, wish) if shown is not None else {}),
        }
        return render_template("reviews/queue.html", **context)


def _shown(
    session: Session, shown: queue.Waiting, stations: dict[int, Spot], wish: queue.Wish
) -> dict[str, object]:
    result = shown.result
    row = session.get_one(ResultRow, shown.row)
    card = known_card(result.recipe)
    beside = golden.newest(session, result.recipe.name)
    example = None if beside else queue.last_ok(session, row.station_id, row.id)
    engineer = person().may(Role.ENGINEER, stations[row.station_id].place)
    return {
        "result": result,
        "row": row,
        "device_key": shown.device,
        "card": card,
        "overlay": present.overlay(result, near=True),
        "questions": present.questions(result, card),
        "labels": labels_for(result, card),
        "beside": beside,
        "example": present.overlay(example, near=True) if example is not None else None,
        "example_of": example,
        "readings": queue.readings(session, shown.row) if wish.kind == "disputed" and engineer else [],
        "engineer": engineer,
        "age_s": max(0.0, (surroundings().now() - shown.received_at).total_seconds()),
    }


def labels_for(result: Result, card: RecipeCard) -> list[tuple[str, str]]:
    """Question and defect for the number keys: what fails by the recipe, then what the engine named."""
    named = [(ask, label) for ask, labels in card.failing.items() for label in labels]
    named += [(f.ask, f.label) for f in result.findings if f.is_defect]
    if not card.failing:
        named += [(o.ask, label) for o in result.outcomes for label, _ in o.probabilities if label != "ok"]
    return list(dict.fromkeys(named))[:MOST_KEYS]


@blueprint.post("/review/<result_id>")
@needs(Role.REVIEWER)
def decide(result_id: str) -> ResponseReturnValue:
    """Keeps a decision and goes on to the next part."""
    told = request.form
    with writing() as session:
        row, device = _row(session, result_id)
        try:
            # A defect's key says no more than the defect: that part is not OK.
            decision = Decision(told.get("decision") or ("NOT_OK" if told.get("label") else ""))
        except ValueError:
            abort(400)
        ask, _, label = told.get("label", "").partition("\n")
        said = Said(
            decision,
            ask=ask or None,
            label=label or None,
            note=told.get("note", ""),
            seconds=_looked(told.get("seconds", type=float)),
        )
        try:
            _desk(session).decide(row, said, engineer=person().may(Role.ENGINEER, place_of(device)))
        except RefusedDecision as refused:
            session.rollback()
            return _on(refused.key)
    return _on()


@blueprint.post("/review/<result_id>/skip")
@needs(Role.REVIEWER)
def skip(result_id: str) -> ResponseReturnValue:
    """Puts a part at this person's end."""
    with writing() as session:
        row, _device = _row(session, result_id)
        _desk(session).skip(row)
    return _on()


@blueprint.post("/review/undo")
@needs(Role.REVIEWER)
def undo() -> ResponseReturnValue:
    """Takes back this person's last decision and shows that part again."""
    with writing() as session:
        row = _desk(session).undo()
        result_id = row.result_id if row is not None else None
    if result_id is None:
        return _on("review_nothing_to_undo")
    return redirect(_address(part=result_id), 303)


@blueprint.post("/review/<result_id>/golden")
@needs(Role.ENGINEER)
def keep_golden(result_id: str) -> ResponseReturnValue:
    """Keeps a settled part's picture as a golden part of its recipe."""
    with reading() as session:
        row, device = _row(session, result_id, Role.ENGINEER)
        found = queue.one(
            session, {row.station_id: Spot(row.station_id, "", device.device, place_of(device))}, result_id
        )
        said = [r for r in queue.readings(session, row.id) if not r.undone]
    if found is None or row.review != "done" or not said or said[-1].decision not in ("OK", "NOT_OK"):
        return _on("golden_not_settled")
    evidence = found.result.frame or found.result.crop
    if evidence is None or not EVIDENCE_ID.fullmatch(evidence.evidence_id):
        return _on("golden_no_picture")
    try:
        picture = door_to(device).evidence.get(evidence.evidence_id)
    except (grpc.RpcError, PictureRefused):
        return _on("golden_no_picture")
    try:
        with writing() as session:
            golden.keep(
                session, row, found.result.recipe.name, evidence, picture, said[-1].decision,
                said[-1].label, by=person().name, at=surroundings().now(),
            )  # fmt: skip
    except golden.RefusedGolden as refused:
        return _on(refused.key)
    return _on("golden_kept")


@blueprint.get("/golden/<evidence_id>")
@needs(Role.VIEWER)
def golden_picture(evidence_id: str) -> Response:
    """A golden part's picture; it never changes."""
    with reading() as session:
        kept = session.get(GoldenPicture, evidence_id)
    if kept is None:
        abort(404)
    response = Response(kept.data, mimetype=kept.media_type)
    response.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return response


@blueprint.post("/review/settings")
@needs(Role.ADMIN, everywhere=True)
def settings() -> ResponseReturnValue:
    """Sets how many OK parts are sampled, and how second readers are asked."""
    told = request.form
    with writing() as session:
        before = _policy(session)
        sample = told.get("sample_percent", type=float)
        second = told.get("second_percent", type=float)
        try:
            policy = Policy(
                before.sample_ok if sample is None else sample / 100,
                told.get("second_reader") == "1",
                before.second_share if second is None else second / 100,
            )
        except RefusedPolicy:
            return _on("review_share_refused")
        write_policy(session, policy, surroundings().now())
        changed = {"sample_ok": policy.sample_ok, "second_reader": policy.second_reader,
                   "second_share": policy.second_share}  # fmt: skip
        audit.note(session, surroundings().now(), person().name, "review.settings", "review", changed)
    return _on()


def _row(session: Session, result_id: str, role: Role = Role.REVIEWER) -> tuple[ResultRow, Device]:
    found = session.execute(
        select(ResultRow, Device)
        .join(Device, Device.id == ResultRow.device_id)
        .where(ResultRow.result_id == result_id)
        .limit(1)
    ).first()
    if found is None:
        abort(404)
    row, device = found
    must(role, place_of(device))
    return row, device


def _policy(session: Session) -> Policy:
    return read_policy(session, surroundings().config.sample_ok)


def _desk(session: Session) -> Desk:
    return Desk(surroundings().database, session, person(), _policy(session), surroundings().now())


def _wish() -> queue.Wish:
    told = request.args
    kind, show = told.get("kind", "first"), told.get("show", "")
    return queue.Wish(
        kind=kind if kind in queue.KINDS else "first",
        show=show if show in queue.SHOWS else "",
        line=told.get("line", "")[:200],
        station=told.get("station", "")[:200],
    )


def _kept() -> dict[str, str]:
    return {n: v for n in ("kind", "show", "line", "station") if (v := request.args.get(n))}


def _looked(seconds: float | None) -> float | None:
    """A time that can be one."""
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(seconds, LONGEST_LOOK_S)


def _on(word: str = "") -> ResponseReturnValue:
    """To the next part, with something to say about the last one."""
    return redirect(_address(word=word), 303)


def _address(**more: str) -> str:
    told: dict[str, Any] = {**_kept(), **{name: value for name, value in more.items() if value}}
    return url_for("reviews.index", **told)
