"""Who may come in, and what they may do: every route says so, and everything else is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from lineside.dashboard.app import create_app
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.people_tables import Audit, Session, SignInLink, User
from lineside.dashboard.people import accounts, attempts, audit, sessions
from lineside.dashboard.people.guard import COOKIE
from lineside.dashboard.people.passwords import WeakPassword, hash_password, is_right
from lineside.dashboard.people.rights import Person, Role, declared

PASSWORD = "a fine long sentence"
LINE = ("Nord", "Filling", "Line 2")


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(sqlite_database: Database, clock: Clock) -> Flask:
    made = create_app(DashboardConfig(timezone=UTC), sqlite_database, now=clock)
    made.testing = True
    return made


@pytest.fixture
def ana(sqlite_database: Database, clock: Clock) -> str:
    with sqlite_database.writing() as session:
        accounts.add(session, "ana", Role.ADMIN, PASSWORD, by="test", at=clock())
    return "ana"


def sign_in(client: FlaskClient, name: str = "ana", password: str = PASSWORD, **more: str) -> Any:
    form = client.get("/sign-in").text
    key = re.search(r'name="csrf" value="(\w+)"', form)
    assert key is not None
    return client.post("/sign-in", data={"csrf": key[1], "name": name, "password": password, **more})


def token_of(form: str) -> str:
    found = re.search(r'name="csrf" value="(\w+)"', form)
    assert found is not None
    return found[1]


# Every route.

PUBLIC = {"static", "sign_in.form", "sign_in.sign_in", "sign_in.enter", "sign_in.sign_out"}


def routes(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Endpoint, method and a path of every route there is."""
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?\w+>", "x", rule.rule)
        for method in sorted(rule.methods or ()):
            yield rule.endpoint, method, path


def test_every_route_declares_who_may_use_it_and_those_for_everybody_are_known(app: Flask) -> None:
    says = {endpoint: declared(app.view_functions[endpoint]) for endpoint, _, _ in routes(app)}
    assert [endpoint for endpoint, told in says.items() if told is None] == []
    assert {endpoint for endpoint, told in says.items() if told and told[0] is None} == PUBLIC


def test_a_stranger_is_sent_to_sign_in_from_every_other_route(app: Flask, ana: str) -> None:
    client, asked = app.test_client(), 0
    for endpoint, method, path in routes(app):
        if endpoint in PUBLIC or method == "OPTIONS":
            continue
        answer = client.open(path, method=method)
        asked += 1
        if method in ("GET", "HEAD"):
            assert (answer.status_code, answer.headers["Location"][:8]) == (303, "/sign-in"), path
        else:
            assert answer.status_code == 401, path
    assert asked > 8


@pytest.mark.parametrize("role", [None, *Role])
def test_a_role_opens_what_it_may_and_nothing_above(
    app: Flask, role: Role | None, client_of: Callable[..., FlaskClient]
) -> None:
    client = client_of(app, role, "someone")
    for endpoint, method, path in routes(app):
        told = declared(app.view_functions[endpoint])
        if method != "GET" or path.endswith("/events") or told is None or told[0] is None:
            continue
        may = role is not None and role >= told[0]
        assert (client.get(path).status_code != 403) == may, (path, role)


def test_a_route_that_declares_nothing_is_refused_even_to_an_admin(
    app: Flask, client_of: Callable[..., FlaskClient]
) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    answer = client_of(app).get("/forgotten")
    assert (answer.status_code, "secret" in answer.text) == (403, False)


def test_a_form_of_another_site_changes_nothing(
    app: Flask, client_of: Callable[..., FlaskClient], sqlite_database: Database
) -> None:
    client = client_of(app)
    for data in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "ü"}):
        assert client.post("/sign-out", data=data).status_code == 400
    assert client.get("/account").status_code == 200
    key = token_of(client.get("/account").text)
    assert client.post("/sign-out", data={"csrf": key}).status_code == 303
    assert client.get("/account").status_code == 303
    with sqlite_database.reading() as session:
        assert session.scalars(select(Session)).all() == []


# Lines.


@given(
    role=st.sampled_from([None, *Role]),
    here=st.sampled_from([None, *Role]),
    asked=st.sampled_from(list(Role)),
)
def test_a_right_on_a_line_counts_there_and_the_role_elsewhere(
    role: Role | None, here: Role | None, asked: Role
) -> None:
    person = Person(1, "ana", role, {LINE: here} if here else {})
    assert person.may(asked, LINE) == ((here or role) is not None and (here or role or 0) >= asked)
    assert person.may(asked, ("Nord", "Filling", "Line 3")) == (role is not None and role >= asked)


def test_a_line_one_may_not_look_at_is_not_there(
    device: Any, make: ModuleType, app_for: Callable[..., Flask], client_of: Callable[..., FlaskClient]
) -> None:
    stored = device.store(make.inspection(1), frame=make.JPEG)
    app = app_for(device)
    client = client_of(app, None, "ben")
    surroundings = app.extensions["lineside"]

    def give(place: tuple[str, str, str]) -> None:
        with surroundings.database.writing() as session:
            found = accounts.get(session, "ben")
            accounts.set_line_right(session, found, place, Role.VIEWER, by="test", at=surroundings.now())

    give(("Nord", "Filling", "Line 9"))
    paths = (
        "/stations/edge-07/st1",
        "/stations/edge-07/st1/events",
        f"/results/{stored.result_id}",
        f"/devices/edge-07/evidence/{stored.evidence[0].evidence_id}",
        "/devices/edge-07/cameras/cam1/frame",
    )
    assert [client.get(path).status_code for path in paths] == [404] * len(paths)
    assert "edge-07" not in client.get("/").text
    give(LINE)
    assert client.get(paths[0]).status_code == 200
    assert "edge-07" in client.get("/").text


# Coming in.


def test_without_a_user_the_page_says_how_one_is_made_and_there_is_no_password_to_guess(app: Flask) -> None:
    html = app.test_client().get("/", follow_redirects=True).text
    assert "lineside dashboard user add ana --role admin" in html
    assert "<input" not in html


def test_the_right_password_comes_in_where_one_wanted_to_go(app: Flask, ana: str) -> None:
    client = app.test_client()
    sent = client.get("/account?lang=en")
    assert sent.headers["Location"] == "/sign-in?next=%2Faccount%3Flang%3Den"
    answer = sign_in(client, next="/account?lang=en")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account?lang=en")
    cookie = next(c for c in answer.headers.getlist("Set-Cookie") if c.startswith(COOKIE))
    for word in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert word in cookie
    assert client.get("/account").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "x\n", ""],
)
def test_signing_in_never_leads_to_another_site(app: Flask, ana: str, wanted: str) -> None:
    assert sign_in(app.test_client(), next=wanted).headers["Location"] == "/"


def test_over_tls_cookies_are_for_tls_alone(sqlite_database: Database, ana: str, clock: Clock) -> None:
    app = create_app(DashboardConfig(proxied_as="qc.plant"), sqlite_database, now=clock)
    client = app.test_client()
    base = "https://qc.plant/"
    form = client.get("/sign-in", base_url=base)
    assert "max-age" in form.headers["Strict-Transport-Security"]
    data = {"csrf": token_of(form.text), "name": "ana", "password": PASSWORD}
    answer = client.post("/sign-in", data=data, base_url=base)
    assert answer.status_code == 303
    cookie = next(c for c in answer.headers.getlist("Set-Cookie") if c.startswith("__Host-"))
    assert "Secure" in cookie


def test_wrong_names_and_passwords_read_the_same_and_are_bounded(app: Flask, ana: str, clock: Clock) -> None:
    client = app.test_client()
    wrong, nobody = sign_in(client, password="wrong"), sign_in(client, name="nobody")
    assert (wrong.status_code, nobody.status_code) == (401, 401)
    words = "Name or password is wrong."
    assert words in wrong.text
    assert words in nobody.text
    for _ in range(attempts.FOR_ONE_NAME - 1):
        sign_in(client, password="wrong")
    refused = sign_in(client)
    assert refused.status_code == 429, "even the right one has to wait"
    assert 0 < int(refused.headers["Retry-After"]) <= 15 * 60
    clock.at += timedelta(minutes=16)
    assert sign_in(client).status_code == 303


def test_a_disabled_user_is_out_at_once_and_stays_out(
    app: Flask, ana: str, sqlite_database: Database, clock: Clock
) -> None:
    client = app.test_client()
    sign_in(client)
    with sqlite_database.writing() as session:
        accounts.add(session, "ben", Role.ADMIN, PASSWORD, by="test", at=clock())
        accounts.set_disabled(session, accounts.get(session, "ana"), True, by="ben", at=clock())
    assert client.get("/account").status_code == 303
    assert sign_in(client).status_code == 401


def test_a_session_ends_by_itself(app: Flask, ana: str, clock: Clock) -> None:
    client = app.test_client()
    sign_in(client)
    for _ in range(14):
        clock.at += timedelta(hours=11)
        assert client.get("/account").status_code == 200
    clock.at += timedelta(hours=11)
    client.get("/account")
    clock.at += timedelta(hours=11)
    assert client.get("/account").status_code == 303, "a week is the longest"
    sign_in(client)
    clock.at += timedelta(hours=13)
    assert client.get("/account").status_code == 303, "unused for longer than a shift"


def test_a_link_signs_in_once_and_not_for_ever(
    app: Flask, ana: str, sqlite_database: Database, clock: Clock
) -> None:
    with sqlite_database.writing() as session:
        links = [sessions.make_link(session, accounts.get(session, "ana"), clock()) for _ in range(2)]
    assert app.test_client().get(f"/enter/{links[0]}").status_code == 303
    again = app.test_client().get(f"/enter/{links[0]}")
    assert (again.status_code, "works once" in again.text) == (403, True)
    clock.at += timedelta(hours=13)
    assert app.test_client().get(f"/enter/{links[1]}").status_code == 403
    with sqlite_database.reading() as session:
        kept = session.scalars(select(SignInLink.token_hash)).all()
    assert not set(kept) & set(links), "only hashes are kept"


def test_one_changes_ones_own_password_and_is_out_everywhere_else(app: Flask, ana: str) -> None:
    here, there = app.test_client(), app.test_client()
    sign_in(here)
    sign_in(there)
    key = token_of(here.get("/account").text)
    new = "another fine sentence"
    for present, first, second, why in (
        ("wrong", new, new, "is wrong"),
        (PASSWORD, new, new + "!", "differ"),
        (PASSWORD, "short", "short", "Not accepted"),
    ):
        form = {"csrf": key, "present": present, "new": first, "again": second}
        answer = here.post("/account/password", data=form)
        assert (answer.status_code, why in answer.text) == (400, True)
    form = {"csrf": key, "present": PASSWORD, "new": new, "again": new}
    assert here.post("/account/password", data=form).status_code == 303
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 303
    assert sign_in(there).status_code == 401
    assert sign_in(there, password=new).status_code == 303


@pytest.mark.parametrize(
    "password", ["short", "aaaaaaaaaaaaaaaa", "ananananana1"[:11], "x" * 257, "alexandra alexandra"]
)
def test_weak_passwords_are_refused(password: str) -> None:
    with pytest.raises(WeakPassword):
        hash_password(password, "alexandra")


def test_a_password_is_kept_as_a_hash_of_its_own() -> None:
    kept = [hash_password(PASSWORD, "ana") for _ in range(2)]
    assert kept[0] != kept[1]
    assert is_right(PASSWORD, kept[0])
    assert not is_right(PASSWORD + "!", kept[0])
    assert not is_right("a password nobody has", None)


# The audit.


def test_every_change_is_in_the_audit_and_a_change_of_the_audit_shows(database: Database) -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    with database.writing() as session:
        user = accounts.add(session, "änne", Role.ADMIN, PASSWORD, by="test", at=at)
        accounts.set_line_right(session, user, LINE, Role.REVIEWER, by="test", at=at)

    def fail_afterwards() -> None:
        with database.writing() as session:
            accounts.set_password(session, accounts.get(session, "änne"), PASSWORD + "!", by="test", at=at)
            raise accounts.RefusedAccount("afterwards something failed")

    with pytest.raises(accounts.RefusedAccount):
        fail_afterwards()
    with database.reading() as session:
        assert session.scalars(select(Audit.action).order_by(Audit.id)).all() == ["user.add", "user.line"]
        assert audit.verify(session) == audit.Check(2, None)
        assert is_right(PASSWORD, session.scalars(select(User.password_hash)).one())
    trigger = "audit_no_update" if database.is_sqlite else "audit_no_change ON audit"
    with database.statements() as connection:
        connection.execute(text(f"DROP TRIGGER {trigger}"))
        connection.execute(text("UPDATE audit SET who = 'eve' WHERE id = 1"))
    with database.reading() as session:
        assert audit.verify(session).broken_at == 1
