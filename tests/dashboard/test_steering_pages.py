"""Recipes and engines as pages: drafts checked, approved by another, replayed; bundles, rollouts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from lineside.dashboard.app import create_app
from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import Address, DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.people_tables import Audit
from lineside.dashboard.database.result_tables import RecipeVersion, Result, Review
from lineside.dashboard.database.rollout_tables import RecipeDraft
from lineside.dashboard.ingest.owner import Following
from lineside.dashboard.people.rights import Role
from lineside.dashboard.studio.difference import compare
from lineside.dashboard.studio.form import form_of
from lineside.dashboard.studio.replay import Answer, Labelled, replay, sweep

Clients = Callable[..., FlaskClient]


class Plant:
    """One simulated device, followed, and the pages over it."""

    def __init__(self, database: Database, folder: Path, simulated: ModuleType, *plans: Any) -> None:
        self.fleet, self.database = simulated.SimulatedFleet(*plans), database
        config = DashboardConfig(
            devices=tuple(Address("127.0.0.1", device.port) for device in self.fleet.devices),
            bundles=folder,
            timezone=UTC,
            silent_after_s=20.0,
            probe_every_s=0.2,
            sample_ok=0.0,
        )
        self.following = Following(database, config, utc_now)
        self.following.__enter__()
        self.following.look()
        self.app: Flask = create_app(config, database)
        self.app.testing = True

    def close(self) -> None:
        self.following.__exit__()
        self.fleet.close()

    def known(self) -> bool:
        with self.database.reading() as session:
            texts = session.scalars(select(RecipeVersion.text)).all()
            live = all(d.heard_at and d.watch_heard_at for d in session.scalars(select(Device)))
            return live and any(texts) and session.scalar(select(Result.id).limit(1)) is not None

    def draft(self) -> RecipeDraft:
        with self.database.reading() as session:
            return session.scalars(select(RecipeDraft).order_by(RecipeDraft.id.desc())).first()

    def actions(self) -> list[str]:
        with self.database.reading() as session:
            return list(session.scalars(select(Audit.action).order_by(Audit.id)))


@pytest.fixture
def plant(
    sqlite_database: Database, tmp_path: Path, simulated: ModuleType, wait_until: Any
) -> Iterator[Plant]:
    made = Plant(sqlite_database, tmp_path, simulated, simulated.plan(1, bad_share=0.3, unsure_share=0.2))
    wait_until(made.known, "the recipe's text is known")
    yield made
    made.close()


def post(client: FlaskClient, path: str, page: str, **told: Any) -> Any:
    key = re.search(r'name="csrf" value="(\w+)"', client.get(page).text)
    assert key is not None
    return client.post(path, data={"csrf": key[1], **told})


def begin(plant: Plant, client: FlaskClient) -> RecipeDraft:
    with plant.database.reading() as session:
        base = session.scalars(select(RecipeVersion).where(RecipeVersion.text.is_not(None))).first().hash
    answer = post(client, "/recipes/cap-check/drafts", "/recipes/cap-check", base=base)
    assert answer.status_code == 303
    return plant.draft()


def test_a_recipe_goes_from_draft_to_station_and_back_with_four_eyes(
    plant: Plant, client_of: Clients
) -> None:
    ana, ben = client_of(plant.app, Role.ENGINEER, "ana"), client_of(plant.app, Role.ENGINEER, "ben")
    draft = begin(plant, ana)
    page = f"/recipe-drafts/{draft.id}"
    text = draft.text.replace("version: 7", "version: 8").replace("0.9\n", "0.95\n")

    same = {"revision": draft.revision, "text": text.replace("version: 8", "version: 7"), "then": "propose"}
    assert "draft_version_taken" in post(ana, f"{page}/save", page, **same).headers["Location"]
    draft = plant.draft()
    told = {"revision": draft.revision, "text": text, "then": "propose"}
    assert post(ana, f"{page}/save", page, **told).status_code == 303
    draft = plant.draft()
    assert (draft.state, draft.version, len(draft.hash)) == ("proposed", 8, 64)

    own = post(ana, f"{page}/decide", page, revision=draft.revision, decision="approve")
    assert "draft_own" in own.headers["Location"]
    assert plant.draft().state == "proposed"
    early = post(ben, f"{page}/activate", page, at="sim-1/capper")
    assert "draft_moved_on" in early.headers["Location"]

    post(ben, f"{page}/decide", page, revision=draft.revision, decision="approve")
    assert plant.draft().state == "approved"
    device = plant.fleet.devices[0]
    assert post(ben, f"{page}/activate", page, at="sim-1/capper").status_code == 303
    assert device.recipes.active == ("cap-check", 8)

    back = post(ben, "/recipes/cap-check/roll-back", "/recipes/cap-check", at="sim-1/capper")
    assert (back.status_code, device.recipes.active) == (303, ("cap-check", 7))
    steps = [
        "recipe.draft",
        "recipe.save",
        "recipe.save",
        "recipe.propose",
        "recipe.approve",
        "recipe.activate",
    ]
    assert [action for action in plant.actions() if action.startswith("recipe.")] == [
        *steps,
        "recipe.roll_back",
    ]


def test_whoever_saves_a_proposed_text_has_written_it_and_it_must_be_proposed_anew(
    plant: Plant, client_of: Clients
) -> None:
    ana, ben = client_of(plant.app, Role.ENGINEER, "ana"), client_of(plant.app, Role.ENGINEER, "ben")
    draft = begin(plant, ana)
    page = f"/recipe-drafts/{draft.id}"
    post(ana, f"{page}/save", page, revision=draft.revision, text=draft.text, then="propose")
    stale = plant.draft().revision
    post(ben, f"{page}/save", page, revision=stale, text=draft.text.replace("version: 7", "version: 8"))
    assert plant.draft().state == "open"
    late = post(ana, f"{page}/save", page, revision=stale, text="lost?")
    assert "draft_moved_on" in late.headers["Location"]
    now = plant.draft()
    post(ana, f"{page}/save", page, revision=now.revision, text=now.text, then="propose")
    refused = post(ben, f"{page}/decide", page, revision=plant.draft().revision, decision="approve")
    assert "draft_own" in refused.headers["Location"]


def test_a_text_is_checked_by_a_device_and_by_its_form_where_none_answers(
    plant: Plant, client_of: Clients
) -> None:
    ana = client_of(plant.app, Role.ENGINEER, "ana")
    draft = begin(plant, ana)
    key = re.search(r'data-csrf="(\w+)"', ana.get(f"/recipe-drafts/{draft.id}").text)
    assert key is not None

    def check(text: str) -> Any:
        sent = {"X-CSRF-Token": key[1]}
        return ana.post(f"/recipe-drafts/{draft.id}/check", data=text.encode(), headers=sent).json

    assert check(draft.text)["problems"] == []
    assert check(draft.text)["by"] == "checked by sim-1"
    assert check("recipe: [")["problems"][0]["line"] == 1
    plant.fleet.stop_one(0)
    told = check("recipe: cap\nask: []\n")
    assert (told["by"], told["problems"][0]["key"]) == ("only its form was checked: no device answers", "ask")
    page = f"/recipe-drafts/{draft.id}"
    word = post(ana, f"{page}/save", page, revision=draft.revision, text=draft.text, then="propose")
    assert "draft_unchecked" in word.headers["Location"]
    assert plant.draft().state == "open"


def test_the_replay_reads_what_people_decided(plant: Plant, client_of: Clients, wait_until: Any) -> None:
    ana = client_of(plant.app, Role.ENGINEER, "ana")
    with plant.database.writing() as session:
        results = session.scalars(select(Result).order_by(Result.id).limit(5)).all()
        for n, result in enumerate(results):
            result.review = "done"
            decision = "NOT_OK" if n % 2 else "OK"
            session.add(Review(result=result.id, user_id=1, decision=decision, decided_at=utc_now()))
    draft = begin(plant, ana)
    told = ana.get(f"/recipe-drafts/{draft.id}/replay").json
    assert (told["n"], told["good"], told["bad"]) == (len(results), -(-len(results) // 2), len(results) // 2)
    assert told["asks"]["cap"][0]["at"] == 0.5
    assert told["asks"]["cap"][-1]["reviews"] >= told["asks"]["cap"][0]["reviews"]


def test_a_picture_is_judged_by_a_station_and_what_is_none_is_not(plant: Plant, client_of: Clients) -> None:
    ana = client_of(plant.app, Role.ENGINEER, "ana")
    draft = begin(plant, ana)
    key = re.search(r'data-csrf="(\w+)"', ana.get(f"/recipe-drafts/{draft.id}").text)
    assert key is not None
    picture = ana.get("/devices/sim-1/cameras/cam1/frame").data
    where, sent = "/devices/sim-1/stations/capper/try", {"X-CSRF-Token": key[1]}
    told = ana.post(where, data=picture, headers=sent)
    assert (told.status_code, told.json["recipe"]) == (200, "cap-check@7")
    assert ana.post(where, data=b"no picture", headers=sent).status_code == 400
    assert "recipe.try" in plant.actions()


def test_a_bundle_is_uploaded_shown_and_rolled_out(
    plant: Plant, client_of: Clients, simulated: ModuleType, tmp_path: Path, wait_until: Any
) -> None:
    ana = client_of(plant.app, Role.ENGINEER, "ana")
    key = re.search(r'data-csrf="(\w+)"', ana.get("/engines").text)
    assert key is not None
    sent = {"X-CSRF-Token": key[1]}
    bad = ana.post("/engines", data=simulated.write_bundle(tmp_path / "bad", damaged=True), headers=sent)
    assert (bad.status_code, "damaged" in bad.json["error"]) == (422, True)
    assert (
        ana.post("/engines", data=simulated.write_bundle(tmp_path / "good"), headers=sent).status_code == 200
    )
    page = ana.get("/engines").text
    for words in ("Apache-2.0", "Qwen/Qwen3.5-2B", "0.991 on 1,200", "not seen by a device yet"):
        assert words in page
    bundle = re.search(r'name="bundle" value="(\w+)"', page)
    assert bundle is not None
    told = {"bundle": bundle[1], "device": "sim-1", "canaries": 1, "a_wave": 5, "watch": 0, "min_results": 0}
    none = post(ana, "/rollouts", "/engines", **{**told, "device": [], "max_review": 10})
    assert "rollout_no_devices" in none.headers["Location"]
    wrong = post(ana, "/rollouts", "/engines", **told, max_review="nan")
    assert "rollout_numbers" in wrong.headers["Location"]
    begun = post(ana, "/rollouts", "/engines", **told, max_review=100)
    where = begun.headers["Location"]
    wait_until(lambda: "state ok" in ana.get(f"{where}/now").text, "the device judges with it")
    again = post(ana, f"{where}/stop", "/engines")
    assert again.status_code == 303
    assert client_of(plant.app, Role.VIEWER, "vic").post(f"{where}/take_back").status_code == 403


def test_replay_counts_escapes_overkill_and_reviews_with_n() -> None:
    def part(truth: str, confidence: float, fails: bool, fixed: bool = False) -> Labelled:
        return Labelled("NOT_DECIDABLE", truth, (Answer("cap", confidence, fails),), fixed)

    parts = [
        part("OK", 0.95, False),
        part("OK", 0.7, True),
        part("NOT_OK", 0.8, False),
        part("NOT_OK", 0.99, True),
        part("NOT_OK", 0.99, False, fixed=True),
        part("NOT_DECIDABLE", 0.99, False),
    ]
    low, high = (count for _, count in sweep(parts, "cap", {"cap": 0.9}, (0.6, 0.9)))
    assert (low.n, low.escapes, low.overkill, low.reviews) == (5, 1, 1, 1)
    assert (high.n, high.escapes, high.overkill, high.reviews) == (5, 0, 0, 3)
    assert replay([], {}).n == 0


def test_differences_stand_side_by_side_and_a_form_says_what_is_wrong() -> None:
    kinds = [line.kind for line in compare("a\nb\nc\n", "a\nx\nc\nd\n")]
    assert kinds == ["same", "changed", "same", "added"]
    assert compare("a\n", "a\n") == []
    wrong = form_of("recipe: cap\nask: [{id: cap}]\nregions: {cap: [0.5, 0, 0.2, 1]}\n")
    assert [problem.key for problem in wrong.problems] == ["regions.cap"]
    assert form_of("a" * 70_000).problems
    assert form_of("- 1\n").problems
