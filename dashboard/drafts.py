"""Drafts of recipes: the editor, its checks, the replay over labelled parts, approval, activation."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import grpc
from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from lineside.dashboard.current import device_or_404, presenter, reading, surroundings, writing
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.result_tables import RecipeVersion
from lineside.dashboard.database.rollout_tables import RecipeDraft
from lineside.dashboard.devices.media import media_type_of
from lineside.dashboard.devices.recipes import read_card
from lineside.dashboard.devices.steering import steering
from lineside.dashboard.people.guard import must, person
from lineside.dashboard.people.rights import Role, needs
from lineside.dashboard.reading import steering as shown
from lineside.dashboard.reading.devices import address_of, place_of
from lineside.dashboard.recipes import note, station_of_form, words_of
from lineside.dashboard.rollouts.gates import VERDICTS
from lineside.dashboard.studio import drafts
from lineside.dashboard.studio.drafts import DraftState, RefusedDraft
from lineside.dashboard.studio.form import Form, form_of
from lineside.dashboard.studio.labelled import labelled
from lineside.dashboard.studio.replay import replay, sweep
from lineside.v1 import inspections_pb2, recipes_pb2, results_pb2
from lineside.v1.client import Client, Failed

blueprint = Blueprint("drafts", __name__)

Checked = tuple[list[recipes_pb2.RecipeProblem], str, results_pb2.RecipeRef | None]
STEPS = (*(n / 100 for n in range(50, 100)), 0.995, 0.999)
LARGEST_TRIAL = 16 * 1024 * 1024
SAID = (
    "draft_version_taken",
    "draft_moved_on",
    "draft_own",
    "draft_unchecked",
    "draft_saved",
    "draft_has_problems",
)


@blueprint.post("/recipes/<recipe>/drafts")
@needs(Role.ENGINEER)
def begin(recipe: str) -> ResponseReturnValue:
    """A draft from a version that is known."""
    base = request.form.get("base", "")
    with writing() as session:
        version = session.scalars(
            select(RecipeVersion).where(RecipeVersion.name == recipe, RecipeVersion.hash == base)
        ).first()
        if version is None or version.text is None:
            abort(404)
        draft = drafts.begin(session, recipe, base, version.text, person(), surroundings().now())
        return redirect(url_for(".editor", number=draft.id), 303)


@blueprint.get("/recipe-drafts/<number>")
@needs(Role.ENGINEER)
def editor(number: str) -> str:
    """The editor of a draft."""
    return _page(number, request.args.get("word"))


def _page(number: str, word: str | None = None, said: str = "") -> str:
    with reading() as session:
        draft = _draft(session, number)
        who, book = person(), surroundings().book
        form = form_of(draft.text)
        seen = shown.devices(session, book, who)
        return render_template(
            "recipes/draft.html",
            draft=draft,
            form=form,
            card=read_card(draft.text),
            cameras=[(d, c["camera"]) for d, live in seen if live for c in d.cameras],
            spots=[spot for spot in shown.spots(session, book, who) if spot.may],
            writers=shown.names_of(session, draft.writers),
            decider=shown.names_of(session, [draft.decided_by] if draft.decided_by else []),
            own=who.id in draft.writers,
            word=word if word in SAID else None,
            said=said,
        )


@blueprint.post("/recipe-drafts/<number>/check")
@needs(Role.ENGINEER)
def check(number: str) -> Response:
    """What is wrong with a text that is being written: as a device says, or its form where none answers."""
    text = request.get_data(cache=False, as_text=True)
    with reading() as session:
        _draft(session, number)
    told, by, _ref = _checked(text)
    form, t = form_of(text), presenter().t
    return jsonify(
        problems=[{"line": one.line, "key": one.key, "message": one.message} for one in told],
        by=t("draft_checked_by", device=by) if by else t("draft_checked_form"),
        regions={name: list(box) for name, box in form.regions.items()},
        thresholds=dict(form.thresholds),
    )


@blueprint.post("/recipe-drafts/<number>/save")
@needs(Role.ENGINEER)
def save(number: str) -> ResponseReturnValue:
    """Keeps the text, and with `then=propose` asks another to approve it."""
    text = request.form.get("text", "").replace("\r\n", "\n")
    told, by, ref = _checked(text)
    word = "draft_saved"
    with writing() as session:
        draft, now, who = _draft(session, number), surroundings().now(), person()
        try:
            drafts.save(session, draft, form_of(text).recipe or draft.recipe, text, _revision(), who, now)
            if request.form.get("then") == "propose":
                word = "draft_has_problems" if told else "" if by else "draft_unchecked"
                if ref is not None and _taken(session, ref):
                    word = "draft_version_taken"
                elif ref is not None:
                    drafts.propose(session, draft, draft.revision, ref.hash, ref.version, who, now)
        except RefusedDraft as error:
            word = error.key
    return redirect(url_for(".editor", number=number, word=word or None), 303)


@blueprint.post("/recipe-drafts/<number>/decide")
@needs(Role.ENGINEER)
def decide(number: str) -> ResponseReturnValue:
    """Approves or refuses, which nobody may who wrote any of it."""
    word = None
    with writing() as session:
        draft, now = _draft(session, number), surroundings().now()
        approve, note = request.form.get("decision") == "approve", request.form.get("note", "")
        try:
            drafts.decide(session, draft, _revision(), approve, note, person(), now)
        except RefusedDraft as error:
            word = error.key
    return redirect(url_for(".editor", number=number, word=word), 303)


@blueprint.post("/recipe-drafts/<number>/activate")
@needs(Role.ENGINEER)
def activate(number: str) -> ResponseReturnValue:
    """Installs an approved text on a device and has a station judge by it."""
    device, station = station_of_form()
    with reading() as session:
        draft = _draft(session, number)
    if draft.state != DraftState.APPROVED:
        return redirect(url_for(".editor", number=number, word="draft_moved_on"), 303)
    note("recipe.activate", device, {"station": station, "hash": draft.hash, "draft": draft.id})
    try:
        with steering(address_of(device), surroundings().config.device_tls) as client:
            made = client.call(client.recipes.CreateRecipe, recipes_pb2.CreateRecipeRequest(text=draft.text))
            ref = made.recipe.recipe
            # By hash, not by name: what is activated is what was approved, whatever the device calls it.
            if ref.hash != draft.hash:
                why = f"it reads another recipe than was approved ({ref.hash[:12]})"
                raise Failed(grpc.StatusCode.DATA_LOSS, "", why, {})
            recipe = f"devices/-/recipes/{ref.recipe}@{ref.version}"
            wanted = recipes_pb2.ActivateRecipeRequest(station=f"devices/-/stations/{station}", recipe=recipe)
            client.call(client.recipes.ActivateRecipe, wanted)
    except (Failed, OSError) as error:
        note("recipe.activate_failed", device, {"station": station, "why": words_of(error)})
        return _page(number, said=words_of(error)), 502
    return redirect(url_for("recipes.recipe_page", recipe=ref.recipe), 303)


@blueprint.get("/recipe-drafts/<number>/replay")
@needs(Role.ENGINEER)
def replayed(number: str) -> Response:
    """For each question of the kept text: what every threshold would have done to the labelled parts."""
    with reading() as session:
        draft = _draft(session, number)
        card, form = read_card(draft.text), form_of(draft.text)
        seen = [d.id for d, _ in shown.devices(session, surroundings().book, person())]
        parts = labelled(session, draft.recipe, seen, card)
    now = replay(parts, form.thresholds)
    asks: dict[str, list[Mapping[str, float]]] = {
        ask: [
            {"at": step, "escapes": c.escapes, "overkill": c.overkill, "reviews": c.reviews}
            for step, c in sweep(parts, ask, form.thresholds, STEPS)
        ]
        for ask in card.failing
    }
    return jsonify(n=now.n, good=now.good, bad=now.bad, asks=asks, thresholds=dict(form.thresholds))


@blueprint.post("/devices/<device>/stations/<station>/try")
@needs(Role.ENGINEER)
def attempt(device: str, station: str) -> tuple[Response, int]:
    """Has a station judge a picture by the recipe it judges by now; the device keeps it as a result."""
    with reading() as session:
        found = device_or_404(session, device)
    must(Role.ENGINEER, place_of(found))
    request.max_content_length = LARGEST_TRIAL
    picture = request.get_data(cache=False)
    if media_type_of(picture) is None:
        return jsonify(error=presenter().t("try_no_picture")), 400
    part = f"try-{uuid.uuid4().hex[:8]}"
    note("recipe.try", found, {"station": station, "part": part})
    where = f"devices/-/stations/{station}"
    wanted = inspections_pb2.InspectRequest(station=where, part_id=part, image=picture)
    try:
        with steering(address_of(found), surroundings().config.device_tls) as client:
            made = client.call(client.inspections.Inspect, wanted).inspection
    except (Failed, OSError) as error:
        return jsonify(error=words_of(error)), 502
    verdict = VERDICTS.get(made.evaluation, "NOT_DECIDABLE")
    return jsonify(
        verdict=verdict,
        words=presenter().t({"OK": "ok", "NOT_OK": "not_ok"}.get(verdict, "not_decidable")),
        answers=[f"{o.ask}: {o.text_value or o.count_value} {o.confidence:.2f}" for o in made.outcomes],
        recipe=f"{made.recipe.recipe}@{made.recipe.version}",
        url=url_for("results.result_page", result_id=made.result_id),
    ), 200


def _checked(text: str) -> Checked:
    """Problems, the device that found them (empty: none answered), and what it would be installed as."""
    with reading() as session:
        seen = [d for d, live in shown.devices(session, surroundings().book, person()) if live]
    for device in seen[:3]:
        try:
            with steering(address_of(device), surroundings().config.device_tls) as client:
                return _ask(client, device, text)
        except (Failed, OSError):
            continue  # the next one may answer
    form: Form = form_of(text)
    told = [recipes_pb2.RecipeProblem(line=p.line, key=p.key, message=p.message) for p in form.problems]
    return told, "", None


def _ask(client: Client, device: Device, text: str) -> Checked:
    answer = client.call(client.recipes.ValidateRecipe, recipes_pb2.ValidateRecipeRequest(text=text))
    return list(answer.problems), device.device, answer.recipe if not answer.problems else None


def _taken(session: Session, ref: results_pb2.RecipeRef) -> bool:
    """Whether this version is known with another content: every device that has it would refuse this one."""
    return (
        session.scalar(
            select(RecipeVersion.id)
            .where(RecipeVersion.name == ref.recipe, RecipeVersion.version == ref.version)
            .where(RecipeVersion.hash != ref.hash)
            .limit(1)
        )
        is not None
    )


def _draft(session: Session, number: str) -> RecipeDraft:
    found = session.get(RecipeDraft, int(number)) if number.isascii() and number.isdigit() else None
    if found is None:
        abort(404)
    return found


def _revision() -> int:
    return request.form.get("revision", 0, type=int) or 0
