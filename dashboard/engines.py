"""Engine bundles as cards, and rollouts: waves as columns, devices as dots, why it stopped."""

from __future__ import annotations

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lineside.dashboard.current import device_or_404, presenter, reading, surroundings, writing
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.rollout_tables import EngineBundle
from lineside.dashboard.database.steering_tables import Rollout, RolloutDevice
from lineside.dashboard.devices.steering import steering
from lineside.dashboard.people import audit
from lineside.dashboard.people.guard import must, person
from lineside.dashboard.people.rights import Role, needs
from lineside.dashboard.reading.devices import address_of, place_of
from lineside.dashboard.reading.steering import devices, names_of
from lineside.dashboard.recipes import words_of
from lineside.dashboard.rollouts import bundles, ledger
from lineside.dashboard.rollouts.gates import Plan, waves_of
from lineside.dashboard.rollouts.ledger import RefusedRollout
from lineside.dashboard.rollouts.machine import RolloutState
from lineside.v1 import engines_pb2
from lineside.v1.client import Failed

blueprint = Blueprint("engines", __name__)

MOST_ROLLOUTS = 50
TURNS = {
    "stop": (RolloutState.STOPPED, (RolloutState.RUNNING,)),
    "go_on": (RolloutState.RUNNING, (RolloutState.STOPPED,)),
    "take_back": (RolloutState.ROLLING_BACK, (RolloutState.RUNNING, RolloutState.STOPPED, RolloutState.DONE)),
}
WORDS = ("rollout_no_devices", "rollout_busy", "rollout_moved_on", "rollout_numbers")


@blueprint.get("/engines")
@needs(Role.VIEWER)
def index() -> str:
    """Every uploaded bundle, and the rollouts."""
    return _page()


def _page(said: str = "") -> str:
    word = request.args.get("word")
    with reading() as session:
        who, book = person(), surroundings().book
        seen = devices(session, book, who)
        return render_template(
            "engines/engines.html",
            bundles=session.scalars(select(EngineBundle).order_by(EngineBundle.uploaded_at.desc())).all(),
            rollouts=session.scalars(select(Rollout).order_by(Rollout.id.desc()).limit(MOST_ROLLOUTS)).all(),
            runs={
                digest: [d for d, _ in seen if (d.engine or {}).get("digest") == digest]
                for digest in session.scalars(select(EngineBundle.digest))
            },
            choices=[(d, live) for d, live in seen if who.may(Role.ENGINEER, place_of(d))],
            may_upload=surroundings().config.bundles is not None,
            word=word if word in WORDS else None,
            said=said,
        )


@blueprint.post("/engines")
@needs(Role.ENGINEER)
def upload() -> tuple[Response, int]:
    """Takes a bundle as the request's body, as it comes, onto the disk."""
    folder, t = surroundings().config.bundles, presenter().t
    if folder is None:
        return jsonify(error=t("engine_no_folder")), 409
    request.max_content_length = bundles.LARGEST_BUNDLE
    try:
        made = bundles.receive(folder, request.stream, request.content_length or 0)
    except (bundles.RefusedBundle, OSError) as error:
        return jsonify(error=t("engine_refused", why=str(error))), 422
    now, who = surroundings().now(), person()
    with writing() as session:
        if session.get(EngineBundle, made.sha256) is None:
            session.add(
                EngineBundle(
                    sha256=made.sha256, digest=made.digest, name=made.name, version=made.version,
                    manifest=dict(made.manifest), size_bytes=made.size_bytes, signature="", signature_by="",
                    uploaded_by=who.id, uploaded_at=now,
                )
            )  # fmt: skip
            told = {"sha256": made.sha256, "digest": made.digest, "size_bytes": made.size_bytes}
            audit.note(session, now, who.name, "engine.upload", f"{made.name}@{made.version}", told)
    return jsonify(url=url_for(".index")), 200


@blueprint.post("/engines/<sha256>/verify")
@needs(Role.ENGINEER)
def verify(sha256: str) -> ResponseReturnValue:
    """Has a device that holds the engine read every byte of it, and tells what it says of the signature."""
    with reading() as session:
        bundle = session.get(EngineBundle, sha256)
        device = device_or_404(session, request.form.get("device", ""))
        if bundle is None:
            abort(404)
        must(Role.ENGINEER, place_of(device))
    try:
        with steering(address_of(device), surroundings().config.device_tls) as client:
            wanted = engines_pb2.VerifyEngineRequest(name=f"devices/-/engines/{bundle.digest}")
            state = client.engine_of(client.call(client.engines.VerifyEngine, wanted)).signature
    except (Failed, OSError) as error:
        return _page(presenter().t("device_failed", why=words_of(error))), 502
    with writing() as session:
        kept = session.get_one(EngineBundle, sha256)
        kept.signature, kept.signature_by = state[:32], device.device[:200]
        told = {"device": device.device, "signature": state}
        audit.note(session, surroundings().now(), person().name, "engine.verify", bundle.digest, told)
    return redirect(url_for(".index"), 303)


@blueprint.post("/rollouts")
@needs(Role.ENGINEER)
def begin() -> ResponseReturnValue:
    """Begins a rollout of a bundle to the devices chosen, in the order in which they are listed."""
    form = request.form
    with writing() as session:
        bundle = session.get(EngineBundle, form.get("bundle", ""))
        if bundle is None:
            abort(404)
        chosen = [device_or_404(session, key) for key in form.getlist("device")]
        for device in chosen:
            must(Role.ENGINEER, place_of(device))
        canaries, a_wave = form.get("canaries", 1, type=int), form.get("a_wave", 5, type=int)
        plan = Plan(
            watch_s=60 * form.get("watch", 5.0, type=float),
            min_results=form.get("min_results", 20, type=int),
            max_review=form.get("max_review", 10.0, type=float) / 100,
            golden=form.get("golden") == "1",
            only_trusted=form.get("only_trusted") == "1",
        )
        # Written so that a NaN is refused as well.
        right = 0 <= plan.watch_s <= 604800 and 0 <= plan.max_review <= 1 and 0 <= plan.min_results <= 100000
        if not right or canaries < 1 or a_wave < 1:
            return redirect(url_for(".index", word="rollout_numbers"), 303)
        waves = waves_of([device.id for device in chosen], canaries, a_wave)
        who = person()
        try:
            made = ledger.begin(
                session, bundle, waves, plan, user=who.id, by=who.name, at=surroundings().now()
            )
        except RefusedRollout as error:
            return redirect(url_for(".index", word=error.key), 303)
        return redirect(url_for(".rollout_page", number=made.id), 303)


@blueprint.get("/rollouts/<number>")
@needs(Role.VIEWER)
def rollout_page(number: str) -> str:
    """One rollout."""
    word = request.args.get("word")
    return render_template("engines/rollout.html", **_rollout(number), word=word if word in WORDS else None)


@blueprint.get("/rollouts/<number>/now")
@needs(Role.VIEWER)
def rollout_now(number: str) -> str:
    """Its waves as they are now, for the page that is open."""
    return render_template("engines/_waves.html", **_rollout(number))


@blueprint.post("/rollouts/<number>/<turn>")
@needs(Role.ENGINEER)
def turn(number: str, turn: str) -> ResponseReturnValue:
    """Stops it, lets it go on, or takes all back: for who may steer every device of it."""
    if turn not in TURNS:
        abort(404)
    to, allowed = TURNS[turn]
    word = None
    with writing() as session:
        rollout = _find(session, number)
        inside = select(RolloutDevice.device_id).where(RolloutDevice.rollout == rollout.id)
        for device in session.scalars(select(Device).where(Device.id.in_(inside))):
            must(Role.ENGINEER, place_of(device))
        try:
            ledger.turn(session, rollout, to, allowed, "", by=person().name, at=surroundings().now())
        except RefusedRollout as error:
            word = error.key
    return redirect(url_for(".rollout_page", number=number, word=word), 303)


def _rollout(number: str) -> dict[str, object]:
    with reading() as session:
        rollout, who = _find(session, number), person()
        live = {device.id: answers for device, answers in devices(session, surroundings().book, who)}
        rows = session.execute(
            select(RolloutDevice, Device)
            .join(Device, Device.id == RolloutDevice.device_id)
            .where(RolloutDevice.rollout == rollout.id)
            .order_by(RolloutDevice.wave, Device.device)
        ).all()
        waves: dict[int, list[tuple[RolloutDevice, Device, bool]]] = {}
        for row, device in rows:
            if device.id in live:
                waves.setdefault(row.wave, []).append((row, device, live[device.id]))
        if not waves and session.scalar(select(func.count()).select_from(RolloutDevice)):
            abort(404)
        return {
            "rollout": rollout,
            "waves": waves,
            "plan": Plan.read(rollout.plan),
            "by": names_of(session, [rollout.created_by]).get(rollout.created_by, ""),
            "may": all(who.may(Role.ENGINEER, place_of(device)) for _, device in rows),
        }


def _find(session: Session, number: str) -> Rollout:
    found = session.get(Rollout, int(number)) if number.isascii() and number.isdigit() else None
    if found is None:
        abort(404)
    return found
