"""Quality: what is counted by shift, hour and lot is what was stored; escapes come from reviews alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from types import ModuleType

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from lineside.dashboard import charts
from lineside.dashboard.app import create_app
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.current import EXTENSION
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.result_tables import Result
from lineside.dashboard.ingest.arrivals import Arrival
from lineside.dashboard.ingest.ledger import Ledger
from lineside.dashboard.ingest.shifts import DEFAULT, ShiftPlan
from lineside.dashboard.labels.desk import Desk, Said
from lineside.dashboard.labels.policy import Policy
from lineside.dashboard.labels.settle import Decision
from lineside.dashboard.people import accounts
from lineside.dashboard.people.rights import Person, Role
from lineside.dashboard.reading.quality import Quality, Reader, Scope
from lineside.dashboard.reading.statistics import Subgroup, p_chart

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
FIRST, LAST = date(2026, 3, 1), date(2026, 3, 4)
HOSTILE = "=cmd()<script>alert(1)</script>"
EVERYWHERE = Person(1, "ana", Role.ADMIN)


@pytest.fixture
def filled(database: Database, make: ModuleType) -> Database:
    """Four days, a part every ten minutes; every tenth NG, two labels; a new recipe version in the middle."""
    with database.writing() as session:
        device = Device(
            device="edge-07", address="edge-07:1", found_by="configured", site="Nord", line="Line 2",
            heard_at=NOW, watch_heard_at=NOW,
        )  # fmt: skip
        session.add(device)
        session.flush()
        row = device.id
    arrivals = []
    for n in range(1, 481):
        bad = n % 10 == 0
        label = HOSTILE if n % 40 == 0 else "cracked"
        message = make.inspection(
            n, make.NOT_OK if bad else make.OK, label=label if bad else "ok", station=f"st{n % 2}",
            when=NOW - timedelta(minutes=10 * (480 - n)),
        )  # fmt: skip
        message.sequence = n
        message.expected["lot"] = f"L{n // 200}"
        if n > 240:
            message.recipe.version, message.recipe.hash = 8, "ac" * 32
        arrivals.append(Arrival(row, 1, n, NOW, message))
    Ledger(database, ShiftPlan.read(DEFAULT, UTC), 0.2).store(arrivals)
    return database


def read(database: Database, by: str = "shift", person: Person = EVERYWHERE, **told: object) -> Quality:
    scope = Scope(**{"since": FIRST - timedelta(days=1), "until": LAST, **told})  # type: ignore[arg-type]
    with database.reading() as session:
        return Reader(session, person, scope, DEFAULT, UTC).read(by)


@pytest.mark.parametrize("by", ["shift", "station", "line", "lot"])
def test_every_way_of_adding_up_gives_the_same_parts(filled: Database, by: str) -> None:
    found = read(filled, by)
    assert (found.counts.total, found.counts.not_ok) == (480, 48)
    assert sum(row.counts.total for row in found.rows) == 480
    assert sum(m.counts.total for m in found.moments) == 480
    assert [(b.label, b.n) for b in found.defects] == [("cracked", 36), (HOSTILE, 12)]


def test_shifts_come_in_the_order_of_the_day_and_say_what_began_in_them(filled: Database) -> None:
    found = read(filled)
    names = [m.name for m in found.moments]
    assert names[:4] == ["2026-02-28 night", "2026-03-01 early", "2026-03-01 late", "2026-03-01 night"]
    assert [m.began for m in found.moments if m.began] == [("tray-check v8",)]
    assert found.rows[0].name == names[-1], "the table begins with the newest"


def test_a_day_is_drawn_by_the_hour_with_its_night_after_midnight(filled: Database) -> None:
    found = read(filled, since=date(2026, 3, 2), until=date(2026, 3, 2))
    assert found.hourly
    assert len(found.moments) == 24
    assert found.moments[0].name == "02. 06:00"
    assert found.moments[-1].name == "03. 05:00"
    one = read(filled, since=date(2026, 3, 2), until=date(2026, 3, 2), shift="2026-03-02 late")
    assert (one.counts.total, len(one.moments)) == (48, 8)


def test_a_lot_is_counted_whole_and_by_station(filled: Database) -> None:
    found = read(filled, lot="L1")
    assert (found.counts.total, found.counts.not_ok) == (200, 20)
    assert sorted(row.name for row in found.rows) == ["st0", "st1"]
    assert sum(b.n for b in found.defects) == 20
    assert found.moments == ()


def test_who_may_look_at_no_line_sees_nothing(filled: Database) -> None:
    assert read(filled, person=Person(2, "carl", None)).counts.total == 0


def test_only_what_was_reviewed_makes_a_rate_and_picked_ok_parts_do_not(filled: Database) -> None:
    assert read(filled).escapes.escape.share is None
    with filled.writing() as session:
        user = accounts.add(session, "ana", Role.REVIEWER, None, by="test", at=NOW)
        desk = Desk(filled, session, accounts.person(session, user), Policy(0.2, second_reader=False), NOW)
        sampled = session.scalars(select(Result).where(Result.review_because == "sample")).all()
        for n, row in enumerate(sampled):
            desk.decide(row, Said(Decision.NOT_OK if n == 0 else Decision.OK), engineer=False)
        for n, row in enumerate(session.scalars(select(Result).where(Result.verdict == "NOT_OK")).all()):
            desk.decide(row, Said(Decision.OK if n < 8 else Decision.NOT_OK), engineer=False)
        picked = session.scalars(
            select(Result).where(Result.review == "none", Result.verdict == "OK").limit(5)
        ).all()
        for row in picked:
            desk.decide(row, Said(Decision.NOT_OK), engineer=False)
    found = read(filled)
    ok = found.escapes.strata["OK"]
    assert (ok.judged, ok.reviewed, ok.bad) == (432, len(sampled), 1)
    assert found.reviewed_because["asked"] == 5
    escaped = 432 / len(sampled)
    assert found.escapes.escape.share == pytest.approx(escaped / (escaped + 40))
    assert found.escapes.escape.low < escaped / (escaped + 40) < found.escapes.escape.high
    assert found.escapes.overkill.share == pytest.approx(8 / (8 + 432 - escaped))
    assert read(filled, lot="L0").escapes.reviewed < found.escapes.reviewed


@pytest.fixture
def client(filled: Database, client_of: Callable[..., FlaskClient]) -> FlaskClient:
    app: Flask = create_app(DashboardConfig(timezone=UTC), filled, now=lambda: NOW)
    app.testing = True
    assert app.extensions[EXTENSION].database is filled
    return client_of(app)


def test_the_page_says_n_and_interval_and_has_the_numbers_behind_each_chart(client: FlaskClient) -> None:
    html = client.get("/quality?since=2026-02-28&until=2026-03-04").text
    said = (
        "90.00 %",
        "86.99–92.37",
        "n = 480",
        "not to be told yet",
        "is not an escape rate",
        "tray-check v8",
    )
    for words in said:
        assert words in html, words
    assert html.count('class="dot') == 11
    assert "<details>" in html
    assert "<script>alert" not in html
    assert "=cmd()&lt;script&gt;" in html
    assert "Lot L1" in client.get("/quality?lot=L1").text
    assert "Nothing was judged" in client.get("/quality?since=2020-01-01&until=2020-02-01").text
    for odd in ("since=x&until=9999-99-99", "since=0001-01-01", "until=9998-01-01", "by=;&of=1&shift=nope"):
        assert client.get(f"/quality?{odd}").status_code == 200, odd


def test_the_shift_report_on_paper_and_as_csv(client: FlaskClient) -> None:
    html = client.get("/quality/report?shift=2026-03-02+late").text
    for words in ("Shift report 2026-03-02 late", "Top five defects", "Hand-over", "Print", "cracked"):
        assert words in html, words
    told = list(csv.DictReader(io.StringIO(client.get("/quality/report.csv?shift=2026-03-02+late").text)))
    assert [(r["station"], r["n"]) for r in told] == [("st0", "24"), ("st1", "24")]
    assert float(told[0]["first_pass"]) == pytest.approx(19 / 24, abs=0.1)


def test_a_drawing_stays_in_its_frame(filled: Database) -> None:
    moments = read(filled).moments
    chart = p_chart([Subgroup(m.counts.total, m.counts.not_ok) for m in moments])
    drawing = charts.p_drawing(chart, moments)
    assert len(drawing.dots) == 11
    assert all(0 <= d.x <= charts.WIDTH and charts.TOP <= d.y <= charts.HEIGHT for d in drawing.dots)
    assert [note.words for note in drawing.notes] == ["tray-check v8"]
    assert charts.p_drawing(p_chart([]), []).dots == ()
    assert [charts.nice(x) for x in (0.03, 0.2, 0.21, 1.0)] == pytest.approx([0.04, 0.2, 0.4, 1.0])
