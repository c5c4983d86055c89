"""Coming in and going out: by password, by a link that works once; one's own account. For everybody."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from lineside.dashboard import errors
from lineside.dashboard.current import reading, surroundings, writing
from lineside.dashboard.people import accounts, attempts, audit, sessions
from lineside.dashboard.people.guard import CSRF_FIELD, cookie_name, person, visitor
from lineside.dashboard.people.passwords import WeakPassword, is_right
from lineside.dashboard.people.rights import Role, needs, public

blueprint = Blueprint("sign_in", __name__)

FORM_COOKIE = "lineside-sign-in"
LONGEST_S = int(sessions.LONGEST.total_seconds())

log = structlog.get_logger(__name__)


@blueprint.get("/sign-in")
@public
def form() -> ResponseReturnValue:
    """The form; where nobody can sign in yet, how somebody is made who can."""
    if visitor() is not None:
        return redirect(_onward())
    return _form(200)


@blueprint.post("/sign-in")
@public
def sign_in() -> ResponseReturnValue:
    """Lets in who knows the password."""
    if not _ours():
        return _form(400, "sign_in_again")
    name, password = request.form.get("name", "").strip()[:100], request.form.get("password", "")
    at, source = surroundings().now(), request.remote_addr or ""
    with reading() as session:
        wait = attempts.wait_s(session, name, source, at)
        user = accounts.find(session, name)
        kept = user.password_hash if user is not None and not user.disabled else None
    if wait:
        log.warning("sign-in refused: too many failures", name=name, source=source)
        answer = _form(429, "sign_in_wait", minutes=-(-wait // 60))
        answer.headers["Retry-After"] = str(wait)
        return answer
    if not is_right(password, kept):
        with writing() as session:
            attempts.failed(session, name, source, at)
            audit.note(session, at, name or "?", "sign-in.failed", name, {"from": source})
        return _form(401, "sign_in_wrong")
    with writing() as session:
        known = accounts.get(session, name)
        attempts.succeeded(session, name, source)
        token = sessions.begin(session, known, source, at)
        audit.note(session, at, name, "sign-in", name, {"from": source})
    return _in(token)


@blueprint.get("/enter/<token>")
@public
def enter(token: str) -> ResponseReturnValue:
    """Lets in who has a link that was not used yet."""
    if visitor() is not None:
        return redirect(url_for("fleet.index"))
    at, source = surroundings().now(), request.remote_addr or ""
    with writing() as session:
        user = sessions.use_link(session, token, at)
        if user is None:
            return errors.page(403, "link_over", "link_over_hint")
        new = sessions.begin(session, user, source, at)
        audit.note(session, at, user.name, "sign-in.link", user.name, {"from": source})
    return _in(new)


@blueprint.post("/sign-out")
@public
def sign_out() -> ResponseReturnValue:
    """Ends this browser's session."""
    who = visitor()
    if who is not None:
        with writing() as session:
            sessions.end(session, g.token)
            audit.note(session, surroundings().now(), who.name, "sign-out", who.name)
    answer = redirect(url_for("sign_in.form"), 303)
    answer.delete_cookie(cookie_name(), secure=surroundings().config.is_secure, httponly=True, samesite="Lax")
    return answer


@blueprint.get("/account")
@needs(Role.VIEWER)
def account() -> str:
    """Who one is here, and what one may do where."""
    return render_template("people/account.html", trouble="", done=False)


@blueprint.post("/account/password")
@needs(Role.VIEWER)
def change_password() -> ResponseReturnValue:
    """Another password, for who knows the present one; every other browser is signed out."""
    at, who = surroundings().now(), person()
    source = request.remote_addr or ""
    with writing() as session:
        user = accounts.get(session, who.name)
        if attempts.wait_s(session, who.name, source, at):
            return render_template("people/account.html", trouble="sign_in_wrong", done=False), 429
        if not is_right(request.form.get("present", ""), user.password_hash):
            attempts.failed(session, who.name, source, at)
            return render_template("people/account.html", trouble="sign_in_wrong", done=False), 400
        if request.form.get("new", "") != request.form.get("again", ""):
            return render_template("people/account.html", trouble="password_differs", done=False), 400
        try:
            accounts.set_password(session, user, request.form.get("new", ""), by=who.name, at=at)
        except WeakPassword:
            return render_template("people/account.html", trouble="password_weak", done=False), 400
        token = sessions.begin(session, user, source, at)
    return _in(token, url_for("sign_in.account"))


def _in(token: str, onward: str | None = None) -> Response:
    answer = redirect(onward or _onward(), 303)
    secure = surroundings().config.is_secure
    answer.set_cookie(
        cookie_name(), token, max_age=LONGEST_S, httponly=True, secure=secure, samesite="Lax", path="/"
    )
    answer.delete_cookie(FORM_COOKIE)
    return answer


def _onward() -> str:
    """Where the person wanted to go: a path of ours, never another site."""
    wanted = request.values.get("next", "")
    parts = urlsplit(wanted)
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and "\\" not in wanted
    return wanted if ours and not parts.netloc and wanted.isprintable() else url_for("fleet.index")


def _form(status: int, trouble: str = "", **values: object) -> Response:
    """The form, tied to this browser by a cookie: another site cannot sign somebody in as somebody else."""
    with reading() as session:
        anybody = accounts.anybody(session)
    key = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(24)
    page = render_template(
        "people/sign_in.html",
        anybody=anybody,
        trouble=trouble,
        values=values,
        name=request.form.get("name", "")[:100],
        onward=request.values.get("next", ""),
        form_key=_form_key(key),
    )
    answer = Response(page, status, mimetype="text/html")
    answer.set_cookie(
        FORM_COOKIE, key, httponly=True, secure=surroundings().config.is_secure, samesite="Strict", path="/"
    )
    return answer


def _form_key(cookie: str) -> str:
    return hashlib.sha256(b"sign-in" + cookie.encode()).hexdigest()


def _ours() -> bool:
    cookie = request.cookies.get(FORM_COOKIE, "")
    sent = request.form.get(CSRF_FIELD, "")
    return bool(cookie) and hmac.compare_digest(_form_key(cookie).encode(), sent.encode())
