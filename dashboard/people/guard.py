"""Stands before every request: whose browser it is, whether the route may be used, whether a form is ours.

Denied by default: a route that declares nothing is refused. Keeps who asks in `flask.g`.
"""

from __future__ import annotations

import hmac
from typing import cast
from urllib.parse import urlencode

from flask import Flask, abort, current_app, g, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import SecurityError

from lineside.dashboard.current import surroundings
from lineside.dashboard.people import accounts, sessions
from lineside.dashboard.people.rights import Person, Place, Role, declared, public

COOKIE = "lineside-session"
SECURE_COOKIE = "__Host-lineside-session"
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
SAFE = ("GET", "HEAD", "OPTIONS")


def cookie_name() -> str:
    """The session cookie's: over TLS one that no other host can set."""
    return SECURE_COOKIE if surroundings().config.is_secure else COOKIE


def person() -> Person:
    """Who makes this request, on a route that needs somebody."""
    found: Person | None = g.get("person")
    if found is None:
        abort(403)
    return found


def visitor() -> Person | None:
    """Who makes this request, if anybody is signed in."""
    return cast(Person | None, g.get("person"))


def still_signed_in() -> bool:
    """Whether the session that this request began with goes on: asked anew, for answers that last.

    A page that somebody watches keeps its session from ending for idleness.
    """
    at, database = surroundings().now(), surroundings().database
    with database.reading() as session:
        found = sessions.find(session, g.token, at)
    if found is not None and at - found[1] > sessions.SEEN_EVERY:
        with database.writing() as session:
            sessions.seen(session, g.token, at)
    return found is not None


def csrf() -> str:
    """What forms of this request's page carry; empty where nobody is signed in."""
    return cast(str, g.get("csrf", ""))


def must(role: Role, place: Place) -> None:
    """Refuses who is not at least `role` on a line: not found for who may not look, else forbidden."""
    here = person().role_at(place)
    if here is None:
        abort(404)
    if here < role:
        abort(403)


def stand(app: Flask) -> None:
    """Puts the guard before every request of an application."""
    app.view_functions["static"] = public(app.view_functions["static"])

    @app.before_request
    def guard() -> ResponseReturnValue | None:
        _recognise()
        view = current_app.view_functions.get(request.endpoint or "")
        if view is None:
            # No such route. Strangers are not told which there are.
            foreign = isinstance(request.routing_exception, SecurityError)
            return None if foreign or visitor() is not None else _to_sign_in()
        says = declared(view)
        if says is None:
            abort(403)
        role, everywhere = says
        if role is not None:
            who = visitor()
            if who is None:
                return _to_sign_in()
            has = who.role if everywhere else who.best
            if has is None or has < role:
                abort(403)
        if request.method not in SAFE and visitor() is not None:
            _check_form()
        return None


def _recognise() -> None:
    g.person, g.csrf, g.token = None, "", request.cookies.get(cookie_name(), "")
    if not g.token or request.endpoint == "static":
        return
    at, database = surroundings().now(), surroundings().database
    with database.reading() as session:
        found = sessions.find(session, g.token, at)
        if found is None:
            return
        user, seen_at = found
        g.person, g.csrf = accounts.person(session, user), sessions.csrf_of(g.token)
    if at - seen_at > sessions.SEEN_EVERY:
        with database.writing() as session:
            sessions.seen(session, g.token, at)


def _check_form() -> None:
    sent = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    if not hmac.compare_digest(sent.encode(), csrf().encode()):
        abort(400, description="csrf")


def _to_sign_in() -> ResponseReturnValue:
    if request.method not in SAFE or request.accept_mimetypes.best == "text/event-stream":
        abort(401)
    wanted = request.full_path.rstrip("?")
    query = urlencode({"next": wanted}) if wanted != "/" else ""
    return redirect(f"/sign-in?{query}" if query else "/sign-in", 303)
