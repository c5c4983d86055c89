"""Alerts, users, enrolment, audit and settings in a real browser: by hand, by axe, without an error."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from lineside.dashboard.app import create_app
from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.alerting_tables import AlertDelivery
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.database.people_tables import User
from lineside.dashboard.database.steering_tables import Alert, Enrolment, Setting
from lineside.dashboard.people import accounts
from lineside.dashboard.people.rights import Role
from lineside.dashboard.screenshots import CHROMIUM_ARGUMENTS, chromium_path

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="no Chromium: apt install chromium"),
]

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
PATHS = (
    "/alerts",
    "/alerts/rules",
    "/alerts/messages",
    "/users",
    "/users/ben",
    "/enrolment",
    "/audit",
    "/settings",
)


def beside(name: str) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


browsing = beside("test_browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM_ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def app(sqlite_database: Database) -> Flask:
    """A line with alerts that stand and were, messages, a user, a device that waits to be let in."""
    at = utc_now()
    with sqlite_database.writing() as session:
        line = {"site": "Nord", "area": "Filling", "line": "Line 2"}
        devices = [
            Device(device=name, address=f"{name}:1", found_by="mqtt", heard_at=at, watch_heard_at=at, **line)
            for name in ("edge-07", "edge-08")
        ]
        session.add_all(devices)
        session.flush()
        station = Station(device_id=devices[0].id, station="Capper 2", listed=True)
        session.add(station)
        session.flush()
        for rule, severity, device, seat, value, minutes, over in (
            ("ng_streak", "critical", devices[0], station, 6, 3, None),
            ("disk", "warning", devices[1], None, 3.4, 55, None),
            ("waiting", "notice", devices[0], station, 61, 12, None),
            ("device_silent", "critical", devices[1], None, 1, 600, 580),
        ):
            alert = Alert(
                rule=rule,
                key=f"{device.device}/{seat.station if seat else ''}",
                device_id=device.id,
                station_id=seat.id if seat else None,
                severity=severity,
                words=f"{seat.station if seat else ''} {device.device}",
                value=value,
                began_at=at - timedelta(minutes=minutes),
                ended_at=at - timedelta(minutes=over) if over else None,
            )
            session.add(alert)
            session.flush()
            session.add(
                AlertDelivery(
                    alert_id=alert.id,
                    event="began",
                    channel="shift lead",
                    message_key=f"{alert.id:032x}",
                    message={},
                    created_at=alert.began_at,
                    due_at=alert.began_at,
                    attempts=3 if rule == "disk" else 0,
                    trouble="mail.plant.example answered 451" if rule == "disk" else "",
                    delivered_at=alert.began_at if rule != "disk" else None,
                )
            )
        accounts.add(session, "ben", Role.REVIEWER, None, by="ana", at=at)
        served = {"fleet": "north", "fingerprint": "ab" * 32, "url": "https://fleet:8443", "signs": True}
        session.add(Setting(name="enrolment", value=served, changed_at=at))
        session.add(
            Enrolment(
                device="edge-09",
                address="10.0.0.9",
                fingerprint="0123456789abcdef" * 4,
                asked_at=at,
                state="waiting",
            )
        )
    made = create_app(DashboardConfig(timezone=UTC), sqlite_database)
    made.testing = True
    return made


@pytest.fixture
def open_page(browser: Any, app: Flask) -> Iterator[Callable[..., Any]]:
    """A page of a browser that is signed in as an admin; what its scripts complain about fails the test."""
    complaints: list[str] = []
    with browsing.served(app) as url:
        pages = []

        def new(**options: Any) -> Any:
            page = browser.new_page(
                viewport={"width": 1366, "height": 768}, locale="en", base_url=url, **options
            )
            page.set_default_timeout(browsing.PATIENCE_MS)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            browsing.enter(page, app, url)
            pages.append(page)
            return page

        yield new
        for page in pages:
            page.goto("about:blank")
            page.close()
    assert complaints == []


def test_an_alert_is_acknowledged_with_a_note_that_nothing_takes_away(
    open_page: Callable[..., Any], sqlite_database: Database
) -> None:
    page = open_page()
    page.goto("/alerts", wait_until="load")
    row = page.locator("#standing tr", has_text="6 NG in a row")
    row.get_by_label("What is done about it").fill(HOSTILE)
    with sqlite_database.writing() as session:
        session.scalars(select(Alert).where(Alert.rule == "disk")).one().ended_at = utc_now()
    page.wait_for_timeout(3000)
    assert row.get_by_label("What is done about it").input_value() == HOSTILE, "still being written"
    row.get_by_role("button", name="Acknowledge").click()
    page.locator("#standing tr.known", has_text="ana").get_by_text(HOSTILE).wait_for()
    assert page.title() != "owned"
    with sqlite_database.writing() as session:
        for alert in session.scalars(select(Alert).where(Alert.ended_at.is_(None))):
            alert.ended_at = utc_now()
    page.get_by_text("No alert stands.").wait_for()


def test_a_user_who_is_shut_out_is_out_while_they_look(
    app: Flask, open_page: Callable[..., Any], browser: Any, sqlite_database: Database
) -> None:
    page, url = open_page(), ""
    page.goto("/users", wait_until="load")
    url = page.url.removesuffix("/users")
    page.get_by_role("link", name="ben").click()
    page.get_by_role("button", name="Make a sign-in link").click()
    link = page.locator(".secret").inner_text()
    other = browser.new_page(locale="en")
    other.goto(url + "/enter/" + link.rsplit("/", 1)[1], wait_until="load")
    other.goto(f"{url}/alerts", wait_until="load")
    other.get_by_text("6 NG in a row").wait_for()
    page.get_by_role("button", name="Shut out").click()
    page.get_by_text("shut out").first.wait_for()
    other.locator("#banner .silent").wait_for(timeout=browsing.PATIENCE_MS)
    other.goto(f"{url}/alerts", wait_until="load")
    other.get_by_role("heading", name="Sign in").wait_for()
    other.close()
    with sqlite_database.reading() as session:
        assert session.scalars(select(User.disabled).where(User.name == "ben")).one()


def test_a_device_is_approved_by_its_fingerprint(
    open_page: Callable[..., Any], sqlite_database: Database
) -> None:
    page = open_page()
    page.goto("/", wait_until="load")
    page.get_by_text("ana", exact=True).click()
    page.get_by_role("link", name="Enrolment").click()
    page.get_by_text("0123 4567 89ab cdef").first.wait_for()
    page.get_by_role("button", name="Approve edge-09").click()
    page.get_by_text("let in", exact=True).wait_for()
    page.get_by_label("Device", exact=True).fill("edge-10")
    page.get_by_role("button", name="Make a token").click()
    assert page.locator("#token").inner_text().startswith("ab" * 32 + ".")
    with sqlite_database.reading() as session:
        assert session.scalars(select(Enrolment.state)).all() == ["approved"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_used_by_everybody(open_page: Callable[..., Any], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page, complaints = open_page(color_scheme=scheme), []
    pictures = os.environ.get("LINESIDE_PICTURES")
    for path in PATHS:
        page.goto(path, wait_until="load")
        found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
        assert len(found.response["passes"]) > 5, "axe looked at nothing"
        complaints += [
            (path, v["id"], [n["target"] for n in v["nodes"]]) for v in found.response["violations"]
        ]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, (path, "runs off the side")
        if pictures:
            page.screenshot(path=str(Path(pictures) / f"{path.strip('/').replace('/', '-')}-{scheme}.png"))
    assert complaints == []
