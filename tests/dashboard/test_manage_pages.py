"""Alerts, users and the audit as pages: who may, what it changes, and that every change is noted."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text

from lineside.dashboard.alerts.plan import QuietHours, Severity, read_plan
from lineside.dashboard.app import create_app
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.people_tables import Audit, User
from lineside.dashboard.database.steering_tables import Alert
from lineside.dashboard.people import accounts, audit
from lineside.dashboard.people.rights import Role

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HERE, THERE = ("Nord", "Filling", "Line 2"), ("Nord", "Filling", "Line 9")


@pytest.fixture
def app(database: Database) -> Flask:
    made = create_app(DashboardConfig(timezone=UTC), database, now=lambda: NOON)
    made.testing = True
    return made


@pytest.fixture
def standing(database: Database) -> int:
    """One device on a line, and an alert that stands."""
    with database.writing() as session:
        site, area, line = HERE
        device = Device(device="edge-07", address="a:1", found_by="mqtt", site=site, area=area, line=line)
        session.add(device)
        session.flush()
        alert = Alert(
            rule="outbox",
            key="edge-07",
            device_id=device.id,
            severity="warning",
            words="edge-07",
            value=16.4,
            began_at=NOON - timedelta(minutes=3),
        )
        session.add(alert)
        session.flush()
        return alert.id


def post(client: FlaskClient, path: str, **form: Any) -> Any:
    key = re.search(r'name="csrf" value="(\w+)"', client.get("/account").text)
    assert key is not None
    return client.post(path, data={"csrf": key[1], **form})


def actions(database: Database) -> list[tuple[str, str, str]]:
    with database.reading() as session:
        rows = session.scalars(select(Audit).order_by(Audit.id))
        return [(row.who, row.action, row.subject) for row in rows if row.who != "test"]


# Alerts.


def test_an_alert_is_acknowledged_once_by_name_with_what_is_done(
    app: Flask, database: Database, standing: int, client_of: Callable[..., FlaskClient]
) -> None:
    ana, ben = client_of(app, Role.REVIEWER, "ana"), client_of(app, Role.REVIEWER, "ben")
    html = ana.get("/alerts").text
    assert "Results undelivered for 16 min" in html
    path = f"/alerts/{standing}/acknowledge"
    assert post(ana, path, note="<b>network</b> is being mended").status_code == 303
    assert post(ben, path, note="me too").status_code == 303
    html = ben.get("/alerts").text
    assert "ana, 12:00" in html
    assert "&lt;b&gt;network&lt;/b&gt;" in html
    assert "me too" not in html
    assert f'action="{path}"' not in html
    assert actions(database) == [("ana", "alert.acknowledge", "edge-07")]


def test_alerts_of_a_line_one_may_not_look_at_are_not_there(
    app: Flask, database: Database, standing: int, client_of: Callable[..., FlaskClient]
) -> None:
    client = client_of(app, None, "ben")

    def give(place: tuple[str, str, str], role: Role) -> None:
        with database.writing() as session:
            user = accounts.get(session, "ben")
            accounts.set_line_right(session, user, place, role, by="test", at=NOON)

    give(THERE, Role.ENGINEER)
    path = f"/alerts/{standing}/acknowledge"
    assert "edge-07" not in client.get("/alerts").text
    assert post(client, path).status_code == 404
    give(HERE, Role.VIEWER)
    assert "edge-07" in client.get("/alerts").text
    assert f'action="{path}"' not in client.get("/alerts").text
    assert post(client, path).status_code == 403
    give(HERE, Role.REVIEWER)
    assert post(client, path).status_code == 303


def rules_form(html: str) -> dict[str, Any]:
    """What a browser would send of the form as it is."""
    sent: dict[str, Any] = {}
    for tag in re.findall(r"<input [^>]*>", html):
        told = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if told.get("type") == "checkbox" and not re.search(r"\schecked", tag):
            continue
        if "name" in told:
            sent.setdefault(told["name"], []).append(told.get("value", ""))
    for name, options in re.findall(r'<select name="([\w.]+)"[^>]*>(.*?)</select>', html):
        chosen = re.search(r'value="(\w+)" selected', options)
        assert chosen is not None
        sent[name] = chosen[1]
    return sent


def test_rules_are_changed_by_a_form_and_a_wrong_number_changes_nothing(
    app: Flask, database: Database, client_of: Callable[..., FlaskClient]
) -> None:
    client = client_of(app, Role.ENGINEER)
    form = rules_form(client.get("/alerts/rules").text)
    assert client.post("/alerts/rules", data=form).status_code == 200
    assert actions(database) == [], "what was not changed is not noted"
    form |= {"disk.limit": "2,5", "disk.severity": "critical", "quiet_from": "22:00", "quiet_to": "06:00"}
    form["quiet_day"] = ["0", "1"]
    del form["clock.enabled"]
    assert "Saved." in client.post("/alerts/rules", data=form).text
    with database.reading() as session:
        plan = read_plan(session)
    assert (plan.rules["disk"].limit, plan.rules["disk"].severity) == (2.5, Severity.CRITICAL)
    assert not plan.rules["clock"].enabled
    assert isinstance(plan.quiet, QuietHours)
    assert plan.quiet.days == {0, 1}
    for wrong in ({"disk.limit": "much"}, {"disk.limit": "-1"}, {"quiet_to": "25:00"}, {"escalate": "nan"}):
        answer = client.post("/alerts/rules", data=form | wrong)
        assert (answer.status_code, "Not saved" in answer.text) == (400, True), wrong
    with database.reading() as session:
        assert read_plan(session) == plan
    assert [action for _, action, _ in actions(database)] == ["alerts.plan"]


# Users.


def test_a_new_user_comes_in_by_the_link_that_is_shown_once(
    app: Flask, database: Database, client_of: Callable[..., FlaskClient]
) -> None:
    client = client_of(app)
    answer = post(client, "/users", name="ben", role="reviewer")
    link = re.search(r"http://localhost(/enter/[\w-]+)", answer.text)
    assert link is not None
    assert answer.headers["Cache-Control"] == "no-store"
    assert "/enter/" not in client.get("/users/ben").text
    ben = app.test_client()
    assert ben.get(link[1]).status_code == 303
    assert ben.get("/account").status_code == 200
    assert ben.get("/users").status_code == 403
    assert ("ana", "user.add", "ben") in actions(database)
    refused = post(client, "/users", name="ben", role="reviewer")
    assert (refused.status_code, "already" in refused.text) == (400, True)
    assert post(client, "/users", name="../x", role="reviewer").status_code == 400
    assert post(client, "/users", name="eve", role="queen").status_code == 400


def test_roles_and_lines_are_given_and_taken_back(
    app: Flask, database: Database, standing: int, client_of: Callable[..., FlaskClient]
) -> None:
    client, ben = client_of(app), client_of(app, Role.VIEWER, "ben")
    line = "/".join(HERE)
    post(client, "/users/ben", what="line", line=line, role="reviewer")
    assert post(ben, f"/alerts/{standing}/acknowledge").status_code == 303
    assert post(client, "/users/ben", what="line", line="no/such/line", role="admin").status_code == 400
    post(client, "/users/ben", what="line", line=line, role="as-elsewhere")
    assert post(ben, f"/alerts/{standing}/acknowledge").status_code == 403
    post(client, "/users/ben", what="role", role="engineer")
    assert ben.get("/audit").status_code == 200
    with database.reading() as session:
        noted = [
            row.action for row in session.scalars(select(Audit)) if row.subject == "ben" and row.who == "ana"
        ]
    assert noted == ["user.line", "user.line", "user.role"]


def test_who_is_shut_out_is_out_at_once_and_comes_in_again_by_signing_in(
    app: Flask, database: Database, client_of: Callable[..., FlaskClient]
) -> None:
    client, ben = client_of(app), client_of(app, Role.VIEWER, "ben")
    assert ben.get("/account").status_code == 200
    assert post(client, "/users/ben", what="disable").status_code == 200
    assert ben.get("/account").status_code == 303
    assert "shut out" in client.get("/users").text
    assert post(client, "/users/ben", what="link").status_code == 400
    post(client, "/users/ben", what="enable")
    assert ben.get("/account").status_code == 303, "let in again, not signed in again"


def test_a_page_that_is_open_says_nothing_more_to_who_is_shut_out(
    app: Flask, database: Database, client_of: Callable[..., FlaskClient]
) -> None:
    client_of(app)
    answer = client_of(app, Role.VIEWER, "ben").get("/alerts/events")
    stream = iter(answer.response)
    assert b"retry" in next(stream)
    assert b"standing" in next(stream)
    with database.writing() as session:
        accounts.set_disabled(session, accounts.get(session, "ben"), True, by="ana", at=NOON)
    assert next(stream, None) is None
    answer.close()


def test_the_last_admin_can_neither_be_shut_out_nor_made_less(
    app: Flask, database: Database, client_of: Callable[..., FlaskClient]
) -> None:
    client = client_of(app)
    for form in ({"what": "disable"}, {"what": "role", "role": "viewer"}, {"what": "delete"}):
        assert post(client, "/users/ana", **form).status_code == 400
    assert post(client, "/users/nobody", what="disable").status_code == 404
    with database.reading() as session:
        user = session.scalars(select(User)).one()
    assert (user.disabled, user.role) == (False, "admin")


# The audit.


def test_the_audit_is_searched_and_verified_and_a_changed_row_is_found(
    app: Flask, database: Database, client_of: Callable[..., FlaskClient]
) -> None:
    client = client_of(app, Role.ENGINEER)
    with database.writing() as session:
        audit.note(session, NOON, "<script>", "recipe.activate", "cap%check", {"to": {"version": 7}})
        audit.note(session, NOON, "ben", "recipe.activate", "label_check")
    html = client.get("/audit?subject=cap%25").text
    assert "&lt;script&gt;" in html
    assert "label_check" not in html
    assert "No row fits" in client.get("/audit?who=nobody").text
    assert "Whole: 3 rows" in post(client, "/audit/verify").text
    trigger = "audit_no_update" if database.is_sqlite else "audit_no_change ON audit"
    with database.statements() as connection:
        connection.execute(text(f"DROP TRIGGER {trigger}"))
        connection.execute(text("UPDATE audit SET who = 'eve' WHERE id = 2"))
    assert "Broken at row 2" in post(client, "/audit/verify").text
