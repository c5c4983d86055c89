"""The live page in a real browser: verdicts appear as they fall, keys work, silence turns it grey."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from lineside.dashboard.current import EXTENSION
from lineside.dashboard.people import accounts, sessions
from lineside.dashboard.people.guard import COOKIE
from lineside.dashboard.people.rights import Role
from lineside.dashboard.screenshots import CHROMIUM_ARGUMENTS, chromium_path, take

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="no Chromium: apt install chromium"),
]

PATIENCE_MS = 40_000
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The application on a real port; its live pages end before the server does."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="dashboard-under-test")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        app.extensions[EXTENSION].stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


def link_for(app: Flask, url: str) -> str:
    """A sign-in link, as the command line makes it."""
    surroundings = app.extensions[EXTENSION]
    at = surroundings.now()
    with surroundings.database.writing() as session:
        user = accounts.find(session, "ana") or accounts.add(
            session, "ana", Role.ADMIN, None, by="test", at=at
        )
        return f"{url}/enter/{sessions.make_link(session, user, at)}"


def enter(page: Any, app: Flask, url: str) -> None:
    """Signs the page's browser in."""
    surroundings = app.extensions[EXTENSION]
    at = surroundings.now()
    with surroundings.database.writing() as session:
        user = accounts.find(session, "ana") or accounts.add(
            session, "ana", Role.ADMIN, None, by="test", at=at
        )
        token = sessions.begin(session, user, "test", at)
    page.context.add_cookies([{"name": COOKIE, "value": token, "url": url}])


@dataclass
class Watched:
    """A page and everything it complained about."""

    page: Any
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM_ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1366, "height": 768}, locale="en")
    page.set_default_timeout(PATIENCE_MS)
    made = Watched(page)
    page.on("pageerror", lambda error: made.complaints.append(str(error)))
    # A picture that a silent device does not give is an error of the network, not of the page.
    page.on(
        "console",
        lambda said: (
            made.complaints.append(said.text)
            if said.type in ("error", "warning") and "Failed to load resource" not in said.text
            else None
        ),
    )
    yield made
    page.close()


def test_verdicts_appear_as_they_fall_and_nothing_in_them_runs(
    device: Any, make: ModuleType, app_for: Callable[..., Flask], watched: Watched
) -> None:
    page = watched.page
    app = app_for(device, silent_after_s=20.0)
    with served(app) as url:
        enter(page, app, url)
        page.goto(f"{url}/stations/edge-07/st1", wait_until="load")
        page.get_by_text("No part has been judged at st1 yet").wait_for()
        device.store(make.inspection(1), frame=make.JPEG)
        page.locator("#newest .verdict.ok").wait_for()
        device.store(make.inspection(2, make.NOT_OK, part_id=HOSTILE, label=HOSTILE), frame=make.JPEG)
        page.locator("#newest .verdict.not_ok").wait_for()
        assert HOSTILE in page.locator("#newest .part-id").inner_text()
        for n in range(3, 60):
            device.store(make.inspection(n))
        page.locator("#newest .part-id", has_text="part-0059").wait_for()
        cells = page.locator("#cells .cell")
        assert cells.count() == 50
        numbers = cells.evaluate_all("list => list.map((cell) => Number(cell.dataset.sequence))")
        assert list(range(10, 60)) == numbers
        assert "n = 59" in page.locator("#counts").inner_text()
        assert page.title() != "owned"
        page.goto("about:blank")
    assert watched.complaints == []


def test_hold_keeps_the_picture_and_then_catches_up(
    device: Any, make: ModuleType, app_for: Callable[..., Flask], watched: Watched
) -> None:
    page = watched.page
    device.store(make.inspection(1), frame=make.JPEG)
    app = app_for(device, silent_after_s=20.0)
    with served(app) as url:
        enter(page, app, url)
        page.goto(f"{url}/stations/edge-07/st1", wait_until="load")
        page.locator("#newest .verdict.ok").wait_for()
        page.keyboard.press("f")
        device.store(make.inspection(2, make.NOT_OK, label="cracked"))
        page.get_by_text("Newer parts waiting: 1").wait_for()
        assert page.locator("#newest .part-id").inner_text() == "part-0001"
        page.keyboard.press("f")
        page.locator("#newest .verdict.not_ok").wait_for()
        assert page.locator("#cells .cell").count() == 2
        page.keyboard.press("?")
        page.get_by_role("dialog").wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="hidden")
        page.keyboard.press("o")
        page.wait_for_url("**/results/*")
        assert "Result of part part-0002" in page.title()
        page.goto("about:blank")
    assert watched.complaints == []


def test_silence_of_the_device_and_of_the_dashboard_turn_the_page_grey_by_themselves(
    device: Any, make: ModuleType, app_for: Callable[..., Flask], watched: Watched
) -> None:
    page = watched.page
    device.store(make.inspection(1), frame=make.JPEG)
    app = app_for(device, silent_after_s=3.0)
    with served(app) as url:
        enter(page, app, url)
        page.goto(f"{url}/stations/edge-07/st1", wait_until="load")
        page.locator("body.live #newest .verdict.ok").wait_for()
        green = page.locator(".verdict").evaluate("e => getComputedStyle(e).backgroundColor")
        device.stop()
        page.locator("body.silent").wait_for()
        page.get_by_text("No word from the device for").wait_for()
        assert green != page.locator(".verdict").evaluate("e => getComputedStyle(e).backgroundColor")
        device.store(make.inspection(2, make.NOT_OK, label="cracked"))
        device.start()
        page.locator("body.live #newest .verdict.not_ok").wait_for()
        assert watched.complaints == []
    page.locator("body.unheard").wait_for()
    page.get_by_text("No word from the dashboard for").wait_for()


def test_the_page_works_without_scripts(
    device: Any, make: ModuleType, app_for: Callable[..., Flask], browser: Any
) -> None:
    device.store(make.inspection(1, make.NOT_OK, label="cracked"), frame=make.JPEG)
    context = browser.new_context(java_script_enabled=False, locale="en")
    page = context.new_page()
    app = app_for(device, silent_after_s=20.0)
    with served(app) as url:
        enter(page, app, url)
        page.goto(f"{url}/stations/edge-07/st1", wait_until="load")
        assert "NG" in page.locator(".verdict").inner_text()
        assert not page.locator("#hold").is_visible()
        page.locator("#open-result").click()
        assert "FINDING" in page.locator("main").inner_text()
    context.close()


def test_nothing_is_cut_off_sideways_at_any_size(
    device: Any, make: ModuleType, app_for: Callable[..., Flask], browser: Any
) -> None:
    part_id = "W" * 200
    device.store(make.inspection(1, make.NOT_OK, part_id=part_id, label="L" * 100), frame=make.JPEG)
    app = app_for(device, silent_after_s=20.0)
    with served(app) as url:
        for width, height in ((1366, 768), (1920, 1080), (1024, 768), (600, 900)):
            page = browser.new_page(viewport={"width": width, "height": height})
            enter(page, app, url)
            page.goto(f"{url}/stations/edge-07/st1", wait_until="load")
            assert width >= page.evaluate("document.documentElement.scrollWidth"), (width, height)
            page.close()


def test_one_command_takes_the_pictures(
    device: Any, make: ModuleType, app_for: Callable[..., Flask], tmp_path: Path
) -> None:
    device.store(make.inspection(1), frame=make.JPEG)
    paths: list[Path] = []
    app = app_for(device, silent_after_s=20.0)
    with served(app) as url:
        link = link_for(app, url)
        # Playwright's synchronous interface allows one of its kind in a thread.
        taker = threading.Thread(
            target=lambda: paths.extend(
                take(url, tmp_path, "wall", ["desk"], ["light", "dark"], "en", sign_in=link)
            )
        )
        taker.start()
        taker.join()
    assert [p.name for p in paths] == ["wall-desk-light.png", "wall-desk-dark.png"]
    assert paths[0].read_bytes() != paths[1].read_bytes()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_used_by_everybody(
    device: Any, make: ModuleType, app_for: Callable[..., Flask], browser: Any, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    stored = device.store(make.inspection(1, make.NOT_OK, label="cracked"), frame=make.JPEG)
    device.stations["st1"].ready = False
    app = app_for(device, silent_after_s=20.0)
    page = browser.new_page(color_scheme=scheme, locale="en")
    complaints = []
    with served(app) as url:
        paths = [
            "/",
            "/?more=1",
            "/stations/edge-07/st1",
            f"/results/{stored.result_id}",
            "/account",
            "/nowhere",
        ]
        for path in ["/sign-in", *paths]:
            if path == "/":
                enter(page, app, url)
            page.goto(f"{url}{path}", wait_until="load")
            # The page's own policy forbids every script but ours: axe comes in beside it.
            found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
            assert len(found.response["passes"]) > 5, "axe looked at nothing"
            complaints += [
                (path, v["id"], [n["target"] for n in v["nodes"]]) for v in found.response["violations"]
            ]
        page.goto("about:blank")
    page.close()
    assert complaints == []


def test_coming_in_and_a_lost_device_turning_grey_on_the_fleets_page(
    device: Any, make: ModuleType, app_for: Callable[..., Flask], watched: Watched
) -> None:
    page = watched.page
    device.store(make.inspection(1), frame=make.JPEG)
    app = app_for(device, silent_after_s=3.0)
    surroundings = app.extensions[EXTENSION]
    with surroundings.database.writing() as session:
        accounts.add(session, "ben", Role.VIEWER, "a fine long sentence", by="test", at=surroundings.now())
    with served(app) as url:
        page.goto(f"{url}/", wait_until="load")
        page.get_by_label("Name").fill("ben")
        page.get_by_label("Password").fill("not this sentence")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").get_by_text("wrong").wait_for()
        page.get_by_label("Password").fill("a fine long sentence")
        page.keyboard.press("Enter")
        page.locator("tr.live", has_text="st1").get_by_text("Ready").wait_for()
        page.get_by_text("Nothing needs attention.").wait_for()
        device.stop()
        page.locator("tr.silent", has_text="st1").get_by_text("No word for").wait_for()
        page.locator("#attention").get_by_text("No word for").wait_for()
        assert page.locator("#rows .state.ok").count() == 0, "nothing is green that is not known to be"
        device.start()
        page.locator("tr.live", has_text="st1").get_by_text("Ready").wait_for()
        page.locator("#rows").get_by_role("link", name="st1").click()
        page.locator("#newest .verdict.ok").wait_for()
        page.get_by_text("ben", exact=True).click()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Sign in").wait_for()
        page.goto("about:blank")
    assert [c for c in watched.complaints if "401" not in c] == []
