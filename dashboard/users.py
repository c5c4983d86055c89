"""Who may come in and what they may do, for admins. Nobody's password is ever seen or set here: links are."""

from __future__ import annotations

from flask import Blueprint, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from lineside.dashboard import errors
from lineside.dashboard.current import reading, surroundings, writing
from lineside.dashboard.database.people_tables import User
from lineside.dashboard.people import accounts, audit, sessions
from lineside.dashboard.people.accounts import RefusedAccount
from lineside.dashboard.people.guard import person
from lineside.dashboard.people.rights import Place, Role, needs
from lineside.dashboard.reading import people

blueprint = Blueprint("users", __name__)

ELSEWHERE = "as-elsewhere"


@blueprint.get("/users")
@needs(Role.ADMIN, everywhere=True)
def index() -> str:
    """Everybody."""
    return _list()


@blueprint.post("/users")
@needs(Role.ADMIN, everywhere=True)
def add() -> ResponseReturnValue:
    """A new user, with a link that signs in once; there they set a password of their own."""
    at, name = surroundings().now(), request.form.get("name", "").strip()
    try:
        with writing() as session:
            user = accounts.add(session, name, _role(), None, by=person().name, at=at)
            link = _link(session, user)
    except (RefusedAccount, ValueError) as error:
        return _list(trouble=str(error), name=name), 400
    return _one(name, link=link)


@blueprint.get("/users/<name>")
@needs(Role.ADMIN, everywhere=True)
def one(name: str) -> ResponseReturnValue:
    """One user."""
    return _one(name)


@blueprint.post("/users/<name>")
@needs(Role.ADMIN, everywhere=True)
def change(name: str) -> ResponseReturnValue:
    """Does what the button says: role, line, disable, enable, link or sign-out."""
    at, by, what = surroundings().now(), person().name, request.form.get("what", "")
    link = ""
    try:
        with writing() as session:
            user = accounts.get(session, name)
            if what == "role":
                accounts.set_role(session, user, _role(), by=by, at=at)
            elif what == "line":
                accounts.set_line_right(session, user, _place(session), _role(), by=by, at=at)
            elif what in ("disable", "enable"):
                accounts.set_disabled(session, user, what == "disable", by=by, at=at)
            elif what == "link":
                link = _link(session, user)
            elif what == "sign-out":
                accounts.sign_out_everywhere(session, user)
                audit.note(session, at, by, "user.sign-out", name)
            else:
                raise RefusedAccount(f"'{what[:20]}' is nothing that can be done")
    except (RefusedAccount, ValueError) as error:
        return _one(name, trouble=str(error), status=400)
    return _one(name, link=link, done=True)


def _list(trouble: str = "", name: str = "") -> str:
    with reading() as session:
        rows = people.everybody(session)
    return render_template("users/users.html", rows=rows, roles=list(Role), trouble=trouble, name=name)


def _one(
    name: str, *, link: str = "", trouble: str = "", done: bool = False, status: int = 200
) -> ResponseReturnValue:
    with reading() as session:
        row = people.one(session, name)
        lines = people.lines(session)
    if row is None:
        return errors.page(404, "error_404", "error_404_hint")
    page = render_template(
        "users/user.html",
        row=row,
        lines=["/".join(line) for line in lines],
        roles=list(Role),
        link=link,
        trouble=trouble,
        done=done,
    )
    # A link stands in it: not for a cache, nor for the way back.
    return page, status, {"Cache-Control": "no-store"}


def _role() -> Role | None:
    word = request.form.get("role", "")
    return None if word in ("", ELSEWHERE) else Role.read(word)


def _place(session: Session) -> Place:
    wish = request.form.get("line", "")
    known = {"/".join(line): line for line in people.lines(session)}
    if wish not in known:
        raise RefusedAccount(f"there is no line '{wish[:60]}'")
    return known[wish]


def _link(session: Session, user: User) -> str:
    if user.disabled:
        raise RefusedAccount(f"'{user.name}' is shut out: let them in again first")
    at = surroundings().now()
    token = sessions.make_link(session, user, at)
    audit.note(session, at, person().name, "user.link", user.name)
    return url_for("sign_in.enter", token=token, _external=True)
