"""What the plant sets: shifts that results fall into, and when results are deleted."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select, update

from lineside.dashboard.app import create_app
from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.people_tables import Audit
from lineside.dashboard.database.result_tables import HourlyVerdicts, Result, ResultRecord, Review
from lineside.dashboard.ingest.keeping import Keeping
from lineside.dashboard.people import accounts
from lineside.dashboard.people.rights import Role
from lineside.dashboard.plant import Plant, RefusedSetting, read_plant, write_plant

CONFIG = DashboardConfig(timezone=UTC)


@pytest.fixture
def client(database: Database, client_of: Callable[..., FlaskClient]) -> FlaskClient:
    app = create_app(CONFIG, database)
    app.testing = True
    return client_of(app)


def test_shifts_are_set_by_a_form_and_wrong_ones_change_nothing(
    database: Database, client: FlaskClient
) -> None:
    key = re.search(r'name="csrf" value="(\w+)"', client.get("/settings").text)
    assert key is not None
    good = {"csrf": key[1], "name": ["day", "night", ""], "begins": ["07:00", "19:00", ""], "keep_days": "90"}
    assert "Saved." in client.post("/settings", data=good).text
    wanted = Plant((("day", "07:00"), ("night", "19:00")), 90)
    for wrong in (
        {"begins": ["07:00", "7:00", ""]},
        {"begins": ["07:00", "07:00", ""]},
        {"name": ["day", "day", ""]},
        {"name": ["", "", ""], "begins": ["", "", ""]},
        {"keep_days": "1"},
        {"keep_days": "-3"},
    ):
        answer = client.post("/settings", data=good | wrong)
        assert (answer.status_code, "Not saved" in answer.text) == (400, True), wrong
    with database.reading() as session:
        assert read_plant(session, CONFIG) == wanted
        actions = session.scalars(select(Audit.action).where(Audit.who == "ana")).all()
    assert actions == ["settings.plant"]


def test_a_plan_without_shifts_is_none() -> None:
    with pytest.raises(RefusedSetting):
        Plant(())


def test_a_new_plan_holds_for_results_from_then_on(
    device: Any, make: ModuleType, follow: Callable[..., Any], wait_until: Callable[..., None]
) -> None:
    device.store(make.inspection(1))
    followed = follow(device)
    with followed.database.writing() as session:
        write_plant(session, Plant((("always", "00:00"),)), utc_now())

    def newest() -> str:
        device.store(make.inspection(device._stored[-1].sequence + 1))
        with followed.database.reading() as session:
            return session.scalars(select(Result.shift).order_by(Result.id.desc()).limit(1)).one()

    wait_until(lambda: newest().endswith("always"), "results fall into the new shift")
    with followed.database.reading() as session:
        first = session.scalars(select(Result.shift).order_by(Result.id).limit(1)).one()
    assert not first.endswith("always")


def test_results_are_deleted_when_their_time_is_over_but_never_what_people_decide_on(
    device: Any, make: ModuleType, follow: Callable[..., Any], database: Database
) -> None:
    for n in range(1, 9):
        device.store(make.inspection(n))
    follow(device, database=database).stop()
    now = utc_now()
    with database.writing() as session:
        ids = session.scalars(select(Result.id).order_by(Result.id)).all()
        old = now - timedelta(days=31)
        session.execute(update(Result).where(Result.id.in_(ids[:5])).values(decided_at=old))
        session.execute(update(Result).where(Result.id == ids[0]).values(review="waiting"))
        ana = accounts.add(session, "ana", Role.REVIEWER, None, by="test", at=now)
        session.add(Review(result=ids[1], user_id=ana.id, decision="OK", decided_at=now))
    counted = count(database, HourlyVerdicts.n)
    keeping = Keeping(database, CONFIG, lambda: now)
    assert keeping.look() == 0, "nothing is deleted unless the plant says so"
    with database.writing() as session:
        write_plant(session, Plant(CONFIG.shifts, 30), now)
    assert keeping.look() == 3
    assert keeping.look() == 0
    with database.reading() as session:
        assert session.scalars(select(Result.id).order_by(Result.id)).all() == [*ids[:2], *ids[5:]]
        assert session.scalar(select(func.count()).select_from(ResultRecord)) == 5
    assert count(database, HourlyVerdicts.n) == counted


def count(database: Database, column: Any) -> int:
    with database.reading() as session:
        return int(session.scalar(select(func.sum(column))) or 0)


def test_times_are_kept(database: Database) -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    with database.writing() as session:
        write_plant(session, Plant(CONFIG.shifts), at)
        write_plant(session, Plant(CONFIG.shifts, 7), at)
    with database.reading() as session:
        assert read_plant(session, CONFIG).keep_days == 7
