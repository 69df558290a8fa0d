"""The picture in the README: a screenshot of demo.html, in a headless Chromium driven by Playwright.

Run `make demo` first. Needs the test extra, and a Chromium at /usr/bin/chromium.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
)


def main() -> None:
    """Select the decisive token of the answer and take the picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1000, "height": 700}, device_scale_factor=1.5)
        page.goto((HERE.parent / "demo.html").as_uri())
        page.get_by_role("toolbar").get_by_text("Oslo").click()
        page.mouse.move(0, 0)
        page.screenshot(path=HERE / "demo.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
