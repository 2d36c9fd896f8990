"""The pictures in the README, taken from a report: python docs/picture.py report.html docs."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, BELOW = 1200, 14  # pixels


def take(report: Path, folder: Path) -> None:
    """Open the report in Debian's Chromium and save what is seen down to the first finding, and the maps.

    Args:
        report: The report of `make examine`.
        folder: Where report.png and maps.png go.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("html.drawn", state="attached")
        finding = page.locator(".finding").first.bounding_box()
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": finding["y"] + finding["height"] + BELOW}
        page.screenshot(path=folder / "report.png", clip=clip, full_page=True)
        page.add_style_tag(content="nav { display: none !important } #gradient_map { padding: 16px 24px }")
        page.locator("#gradient_map").screenshot(path=folder / "maps.png")
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
