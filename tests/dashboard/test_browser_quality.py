"""A quality engineer's day in a real browser: twenty parts by keyboard, one traced, a shift on paper."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from lineside.dashboard.current import EXTENSION
from lineside.dashboard.database.result_tables import Result, Review
from lineside.dashboard.screenshots import CHROMIUM_ARGUMENTS, chromium_path

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium_path() is None, reason="no Chromium: apt install chromium"),
]
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def beside(name: str) -> ModuleType:
    """A plain module of this folder: test folders are no packages."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


first = beside("test_browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM_ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page; whatever it complains about fails the test."""
    made = browser.new_page(viewport={"width": 1366, "height": 768}, locale="en")
    made.set_default_timeout(first.PATIENCE_MS)
    complaints: list[str] = []
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on(
        "console",
        lambda said: (
            complaints.append(said.text)
            if said.type in ("error", "warning") and "Failed to load resource" not in said.text
            else None
        ),
    )
    yield made
    made.close()
    assert complaints == []


@pytest.fixture
def app(device: Any, make: ModuleType, app_for: Callable[..., Flask]) -> Flask:
    """A line with twenty-two parts that want a person."""
    for n in range(1, 26):
        what = (make.OK, make.NOT_OK, make.NOT_DECIDABLE)[min(n // 4, 2) if n > 3 else 0]
        part = HOSTILE if n == 25 else None
        made = make.inspection(n, what, label="ok" if what == make.OK else "cracked", part_id=part)
        made.expected["lot"] = "L4711"
        device.store(made, frame=make.JPEG + bytes([n]) if n != 6 else None)
    return app_for(device, silent_after_s=20.0)


def reviews(app: Flask) -> list[tuple[str, bool]]:
    """Decisions as kept, in order: what was said, and whether it stands."""
    with app.extensions[EXTENSION].database.reading() as session:
        kept = session.scalars(select(Review).order_by(Review.id)).all()
        return [(r.decision, r.undone_at is None) for r in kept]


def test_twenty_parts_by_keyboard_with_undo(app: Flask, page: Any) -> None:
    def left() -> int:
        return int(page.locator("#desk").get_attribute("data-left"))

    def press(key: str, expect: int) -> None:
        page.keyboard.press(key)
        page.locator(f"#desk[data-left='{expect}']").wait_for()

    with first.served(app) as url:
        first.enter(page, app, url)
        page.goto(f"{url}/review", wait_until="load")
        waiting = left()
        assert waiting == 22
        keys = ["n", "1", "n", "1", "c", "n"] + ["1", "n"] * 7
        for done, key in enumerate(keys, 1):
            press(key, waiting - done)
        page.get_by_text("s a part").wait_for()
        press("u", waiting - 19)
        page.get_by_text("Undo").first.wait_for()
        press("n", waiting - 20)
        before = page.locator(".in-question .part-id").inner_text()
        page.keyboard.press("s")
        page.locator(".in-question .part-id", has_text=before).wait_for(state="detached")
        assert left() == waiting - 20
        page.keyboard.press("?")
        page.get_by_role("dialog").wait_for()
        page.keyboard.press("o")
        page.keyboard.press("Escape")
        assert left() == waiting - 20, "a key in the list of keys decides nothing"
        page.get_by_placeholder("Note").focus()
        page.keyboard.type("no on")
        assert left() == waiting - 20, "what is typed as a note decides nothing"
        page.goto("about:blank")
    kept = reviews(app)
    assert len(kept) == 21
    assert [stands for _, stands in kept].count(False) == 1
    with app.extensions[EXTENSION].database.reading() as session:
        settled = Result.review.in_(("done", "second"))  # some are read twice, by lot
        assert session.scalar(select(func.count()).where(settled, Result.review_because == "verdict")) == 20
        assert all(s is not None and s > 0 for s in session.scalars(select(Review.seconds))), (
            "the time a decision took is kept"
        )


def test_a_part_is_traced_and_its_story_read(app: Flask, page: Any) -> None:
    with first.served(app) as url:
        first.enter(page, app, url)
        page.goto(f"{url}/trace", wait_until="load")
        assert page.title().startswith("Trace"), "nothing of a part id runs"
        page.get_by_label("Part, lot or result id").fill("part-0009")
        page.keyboard.press("Enter")
        page.locator("tbody").get_by_role("link", name="part-0009").click()
        page.get_by_text("Audit chain").wait_for()
        page.get_by_text("Delivery").wait_for()
        page.emulate_media(media="print")
        assert page.pdf()[:5] == b"%PDF-"
        assert not page.get_by_role("button", name="Print").is_visible()
        page.goto("about:blank")


def test_a_shift_report_is_printed(app: Flask, page: Any) -> None:
    with first.served(app) as url:
        first.enter(page, app, url)
        page.goto(f"{url}/quality", wait_until="load")
        page.get_by_role("link", name="Shift report").click()
        page.get_by_text("Top five defects").wait_for()
        page.evaluate("window.print = () => { document.body.dataset.printed = '1'; }")
        page.get_by_role("button", name="Print").click()
        assert page.locator("body").get_attribute("data-printed") == "1"
        assert len(page.pdf()) > 10_000
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        assert "first_pass" in download.value.path().read_text()
        page.goto("about:blank")


def test_evidence_that_is_gone_is_said_to_be_gone(app: Flask, device: Any, page: Any) -> None:
    device._pictures.clear()
    with first.served(app) as url:
        first.enter(page, app, url)
        page.goto(f"{url}/review", wait_until="load")
        page.locator("figure[data-missing*='is gone']").first.wait_for()
        page.goto("about:blank")


def test_review_trace_and_quality_are_accessible(app: Flask, page: Any) -> None:
    axe_playwright = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed: pages are not checked with it"
    )
    axe, complaints = axe_playwright.Axe(), []
    with first.served(app) as url:
        first.enter(page, app, url)
        for path in (
            "/review", "/review?kind=second", "/trace", "/trace?q=nothing", "/quality", "/quality?by=station",
            "/quality/report", "/quality?lot=L4711", "/results/0190aaaa-0000-7000-8000-000000000009",
        ):  # fmt: skip
            page.goto(f"{url}{path}", wait_until="load")
            found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
            assert len(found.response["passes"]) > 5, "axe looked at nothing"
            complaints += [
                (path, v["id"], [n["target"] for n in v["nodes"]]) for v in found.response["violations"]
            ]
        page.goto("about:blank")
    assert complaints == []
