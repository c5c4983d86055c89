"""`python -m lineside.dashboard.screenshots --url URL --out DIR`: pictures of a page as people see it.

Three sizes, light and dark, through a Chromium that is already installed. Needs Playwright
(an extra of the tests); the dashboard itself does not.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click

SIZES = {"desk": (1366, 768), "wall": (1920, 1080), "tablet": (1024, 768)}
CHROMIUM_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETTLE_MS = 2500
"""For the stream to bring something and the pictures to be decoded."""


def chromium_path() -> str | None:
    """An installed Chromium or Chrome, or None."""
    for name in ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    return None


def take(
    url: str,
    out: Path,
    name: str,
    sizes: list[str],
    schemes: list[str],
    language: str,
    *,
    sign_in: str | None = None,
) -> list[Path]:
    """Writes `NAME-SIZE-SCHEME.png` for each size and scheme into `out` and gives the paths.

    `sign_in`: a sign-in link, opened once before all pictures.

    Raises:
        click.ClickException: there is no Chromium, or no Playwright.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise click.ClickException("Playwright is missing: pip install playwright") from None
    executable = chromium_path()
    if executable is None:
        raise click.ClickException("no Chromium found: apt install chromium")
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=list(CHROMIUM_ARGUMENTS))
        entered = browser.new_context(locale=language)
        if sign_in is not None:
            page = entered.new_page()
            page.goto(sign_in, wait_until="commit")
            page.close()
        known = entered.storage_state()
        for size in sizes:
            width, height = SIZES[size]
            for scheme in schemes:
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if scheme == "dark" else "light",
                    locale=language,
                    storage_state=known,
                )
                # A live page never becomes idle: the stream stays open.
                page.goto(url, wait_until="load")
                page.wait_for_timeout(SETTLE_MS)
                path = out / f"{name}-{size}-{scheme}.png"
                page.screenshot(path=path)
                paths.append(path)
                page.close()
        browser.close()
    return paths


@click.command()
@click.option("--url", required=True, help="Address of the page, as in http://127.0.0.1:8088/")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to."
)
@click.option("--name", default="live-wall", show_default=True, help="First part of the file names.")
@click.option("--size", "sizes", type=click.Choice(list(SIZES)), multiple=True, default=tuple(SIZES))
@click.option(
    "--scheme", "schemes", type=click.Choice(["light", "dark"]), multiple=True, default=("light", "dark")
)
@click.option("--language", default="en", show_default=True)
@click.option(
    "--sign-in", metavar="LINK", help="A sign-in link (`lineside dashboard user link`, or the demo's)."
)
def main(
    url: str,
    out: Path,
    name: str,
    sizes: tuple[str, ...],
    schemes: tuple[str, ...],
    language: str,
    sign_in: str | None,
) -> None:
    """Take pictures of a page at the sizes people use it in."""
    for path in take(url, out, name, list(sizes), list(schemes), language, sign_in=sign_in):
        click.echo(path)


if __name__ == "__main__":
    main()
