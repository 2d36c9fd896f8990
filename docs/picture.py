"""The picture in the README, taken from a report: python docs/picture.py report.html docs/report.png."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# From the headline down to the first row of maps.
SIZE = {"width": 1200, "height": 1880}


def take(report: Path, picture: Path) -> None:
    """Open the report in Debian's Chromium and save what is seen of it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("html.drawn", state="attached")
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
