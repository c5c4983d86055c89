"""Enrolment for admins: tokens are made, devices that wait are approved by their fingerprint or refused."""

from __future__ import annotations

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from lineside.dashboard.current import reading, surroundings, writing
from lineside.dashboard.database.alerting_tables import EnrolmentToken
from lineside.dashboard.database.people_tables import User
from lineside.dashboard.database.steering_tables import Enrolment
from lineside.dashboard.enrolment import desk
from lineside.dashboard.enrolment.signing import RefusedRequest
from lineside.dashboard.people.guard import person
from lineside.dashboard.people.rights import Role, needs

blueprint = Blueprint("enrolments", __name__)

DECISIONS = {"approve": "approved", "refuse": "refused"}
MOST = 500
LARGEST_CHAIN = 64 * 1024


@blueprint.get("/enrolment")
@needs(Role.ADMIN, everywhere=True)
def index() -> ResponseReturnValue:
    """Who waits, who was let in or refused, which tokens are out."""
    return _page()


@blueprint.post("/enrolment/tokens")
@needs(Role.ADMIN, everywhere=True)
def make_token() -> ResponseReturnValue:
    """A token for one device, shown once."""
    form, at = request.form, surroundings().now()
    device = form.get("device", "").strip()
    try:
        with writing() as session:
            where = desk.served(session)
            if where is None:
                raise RefusedRequest("no process lets devices in yet: start `lineside dashboard enrolment`")
            token = desk.make_token(
                session,
                where,
                device,
                form.get("names", "").replace(",", " ").split(),
                int(form.get("hours", "")),
                needs_approval=form.get("at_once") != "1",
                by=person().name,
                at=at,
            )
    except ValueError as error:
        return _page(trouble=str(error), status=400)
    return _page(token=token, device=device)


@blueprint.post("/enrolment/<int:enrolment>")
@needs(Role.ADMIN, everywhere=True)
def decide(enrolment: int) -> ResponseReturnValue:
    """Approves or refuses a device; or takes a certificate that was signed elsewhere for it."""
    at, who, what = surroundings().now(), person(), request.form.get("what", "")
    try:
        with writing() as session:
            if what == "certificate":
                row = session.get(Enrolment, enrolment)
                if row is None:
                    abort(404)
                desk.bring(session, row, request.form.get("chain", "")[:LARGEST_CHAIN], who.name, at)
            elif what in DECISIONS:
                if desk.decide(session, enrolment, DECISIONS[what], who.id, who.name, at) is None:
                    abort(404)
            else:
                abort(400)
    except RefusedRequest as error:
        return _page(trouble=str(error), status=400)
    return _page(done=True)


@blueprint.get("/enrolment/<enrolment>/request.csr")
@needs(Role.ADMIN, everywhere=True)
def request_file(enrolment: str) -> Response:
    """A device's certificate request, for whoever signs it elsewhere."""
    if not (enrolment.isascii() and enrolment.isdigit() and len(enrolment) < 16):
        abort(404)
    with reading() as session:
        row = session.get(Enrolment, int(enrolment))
    if row is None or not row.request:
        abort(404)
    headers = {"Content-Disposition": f'attachment; filename="enrolment-{row.id}.csr"'}
    return Response(row.request, mimetype="application/pkcs10", headers=headers)


def _page(
    *, token: str = "", device: str = "", trouble: str = "", done: bool = False, status: int = 200
) -> ResponseReturnValue:
    at = surroundings().now()
    with reading() as session:
        found = session.execute(
            select(Enrolment, User.name)
            .outerjoin(User, User.id == Enrolment.decided_by)
            .order_by(Enrolment.state != "waiting", Enrolment.id.desc())
            .limit(MOST)
        ).all()
        tokens = session.scalars(
            select(EnrolmentToken)
            .where(EnrolmentToken.ends_at > at, EnrolmentToken.used_by.is_(None))
            .order_by(EnrolmentToken.made_at.desc())
            .limit(MOST)
        ).all()
        where = desk.served(session)
    page = render_template(
        "enrolment/enrolment.html",
        rows=[(row, name, desk.spaced(row.fingerprint)) for row, name in found],
        tokens=tokens,
        served=where,
        token=token,
        device=device,
        trouble=trouble,
        done=done,
    )
    # A token may stand in it.
    return page, status, {"Cache-Control": "no-store"}
