"""In a real browser: a region is drawn, a threshold replayed, a failing canary watched on its way back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import select

from lineside.dashboard.clock import utc_now
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.result_tables import RecipeVersion, Result, Review
from lineside.dashboard.people import accounts
from lineside.dashboard.people.rights import Role
from lineside.dashboard.screenshots import CHROMIUM_ARGUMENTS, chromium_path
from lineside.dashboard.studio import drafts

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="no Chromium: apt install chromium"),
]
PATIENCE_MS = 40_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM_ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    made = browser.new_page(viewport={"width": 1366, "height": 900}, locale="en")
    made.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on(
        "console",
        # A look that the end of the test cut off is an error of the network, not of the page.
        lambda said: (
            wrong.append(said.text)
            if said.type in ("error", "warning") and "Failed to load resource" not in said.text
            else None
        ),
    )
    yield made
    made.close()
    assert wrong == []


@pytest.fixture
def plant(
    sqlite_database: Database, tmp_path: Path, simulated: ModuleType, wait_until: Any, beside: Any
) -> Iterator[Any]:
    plants = beside("test_steering_pages")
    canary = simulated.plan(1, bad_share=0.3, unsure_share=0.3, engine_trouble="judge")
    made = plants.Plant(sqlite_database, tmp_path, simulated, canary, simulated.plan(2))
    wait_until(made.known, "the recipe's text is known")
    yield made
    made.close()


def faults(page: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found = axe.Axe().run(page)
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in found.response["violations"]]


def test_a_region_is_drawn_and_a_threshold_is_replayed_before_anything_is_active(
    plant: Any, page: Any, beside: Any
) -> None:
    served = beside("test_browser")
    labelled = 0
    with plant.database.writing() as session:
        at = utc_now()
        user = accounts.add(session, "ana", Role.ADMIN, None, by="test", at=at)
        for n, result in enumerate(session.scalars(select(Result).limit(8)).all()):
            result.review = "done"
            labelled += 1
            session.add(
                Review(result=result.id, user_id=user.id, decision="NOT_OK" if n % 2 else "OK", decided_at=at)
            )
        version = session.scalars(select(RecipeVersion).where(RecipeVersion.text.is_not(None))).first()
        number = drafts.begin(
            session, "cap-check", version.hash, version.text, accounts.person(session, user), at
        ).id
    with served.served(plant.app) as url:
        served.enter(page, plant.app, url)
        page.goto(f"{url}/recipe-drafts/{number}", wait_until="load")
        page.get_by_text("checked by sim-1").wait_for()
        drawing = page.locator("#drawing")
        drawing.scroll_into_view_if_needed()
        box = drawing.bounding_box()
        page.fill("#region-name", "shoulder")
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.75, steps=4)
        page.mouse.up()
        page.click("#into-text")
        drawn = re.search(r"shoulder: \[([\d., ]+)\]", page.input_value("#text"))
        assert drawn is not None
        assert [float(n) for n in drawn[1].split(",")] == pytest.approx([0.25, 0.5, 0.75, 0.75], abs=0.02)
        # The same by keyboard: the numbers beside the picture.
        page.get_by_text("checked by sim-1").wait_for()
        page.select_option("#region", "cap")
        page.fill("#x0", "0.3")
        page.click("#into-text")
        assert "cap: [0.3, 0.16, 0.64, 0.46]" in page.input_value("#text")

        page.locator("#replay-over", has_text="labelled parts (").wait_for()
        slider = page.locator(".replay input[type=range]")
        slider.focus()
        page.keyboard.press("Home")
        assert page.locator(".replay output").inner_text() == "0.5"
        page.keyboard.press("End")
        assert page.locator(".replay output").inner_text() == "0.999"
        assert page.locator(".replay .then .reviews").inner_text().endswith(f"of {labelled}")
        page.locator(".replay button").click()
        assert "min_confidence: 0.999" in page.input_value("#text")
        page.get_by_text("No problems").wait_for()
        assert faults(page) == []
        page.fill("#text", page.input_value("#text").replace("version: 7", "version: 8"))
        page.get_by_role("button", name="Save and ask for approval").click()
        page.get_by_text("Who wrote any of it may not approve it").wait_for()
        page.goto(f"{url}/recipes/cap-check", wait_until="load")
        assert faults(page) == []


def test_a_failing_canary_is_watched_on_its_way_back(
    plant: Any, page: Any, beside: Any, simulated: ModuleType, tmp_path: Path
) -> None:
    served = beside("test_browser")
    bundle = tmp_path / "caps.lsengine"
    simulated.write_bundle(bundle)
    with served.served(plant.app) as url:
        served.enter(page, plant.app, url)
        page.goto(f"{url}/engines", wait_until="load")
        page.set_input_files("#upload input[type=file]", str(bundle))
        page.get_by_role("button", name="Upload a bundle").click()
        page.get_by_role("heading", name="caps 2").wait_for()
        page.locator("details summary", has_text="Roll out").click()
        for device in ("sim-1", "sim-2"):
            page.get_by_label(device).check()
        page.get_by_label("Only if devices trust").uncheck()
        page.get_by_label("Watch each for").fill("1")
        page.get_by_label("over at least").fill("5")
        assert faults(page) == []
        page.get_by_role("button", name="Roll out").click()
        page.get_by_role("heading", name="Canary").wait_for()
        page.locator(".wave li", has_text="as before").wait_for()
        page.get_by_text("could not be decided").first.wait_for()
        assert page.locator(".wave").nth(1).locator("li").inner_text().endswith("not touched")
        assert plant.fleet.devices[0].engines.active.engine == "simulated"
        assert faults(page) == []
