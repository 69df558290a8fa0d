"""The pictures in the README: screenshots of demo.html and of a date that is read, in a headless Chromium.

Run `make demo` first. Needs the test extra, and a Chromium at /usr/bin/chromium.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, sync_playwright

import tokensal

HERE = Path(__file__).resolve().parent
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
)


def demo(page: Page) -> None:
    """Select the decisive token of the answer and take the picture."""
    page.goto((HERE.parent / "demo.html").as_uri())
    page.get_by_role("toolbar").get_by_text("Oslo").click()
    page.mouse.move(0, 0)
    page.screenshot(path=HERE / "demo.png", full_page=True)


def dates(page: Page) -> None:
    """The alignment matrix of a translation, of sorts."""
    result = tokensal.attribute(tokensal.load("dates"), "the 3rd of March, 1987", method="occlusion")
    with TemporaryDirectory() as folder:
        result.save(Path(folder) / "dates.html")
        page.goto((Path(folder) / "dates.html").as_uri())
        page.screenshot(path=HERE / "dates.png", full_page=True)


def main() -> None:
    """Both pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1000, "height": 700}, device_scale_factor=1.5)
        demo(page)
        dates(page)
        browser.close()


if __name__ == "__main__":
    main()
