"""The benchmarks as a page with pictures, and their numbers as JSON."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import plotly.graph_objects as go
from playwright.sync_api import Page, sync_playwright
from plotly.offline import get_plotlyjs

from benchmarks.section import Section

DOCS = Path(__file__).parents[1] / "docs"
FOLDER = "benchmarks"
WIDTH = 900  # of a picture, pixels
INTRODUCTION = """# Benchmarks

How fast, against what. Every speed stands beside an alternative that was measured in the same run, taking turns with
it, and none is shown before both have found the same numbers. `make bench` measures everything anew and writes this
page."""


def write(sections: Sequence[Section], machine: str) -> None:
    """Write docs/benchmarks.md, and its pictures and numbers to a folder beside it."""
    folder = DOCS / FOLDER
    folder.mkdir(exist_ok=True)
    numbers = {"machine": machine} | {section.name: section.numbers for section in sections}
    (folder / "results.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    pictures = {section.file(shows): drawn for section in sections for shows, drawn in section.pictures.items()}
    for name, svg in zip(pictures, svgs(list(pictures.values())), strict=True):
        (folder / name).write_text(svg, encoding="utf-8")
    measured_on = f"Measured with {machine}; all numbers are in [results.json]({FOLDER}/results.json)."
    parts = [INTRODUCTION, measured_on, *(section.markdown(FOLDER) for section in sections)]
    (DOCS / "benchmarks.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def svgs(figures: Sequence[go.Figure]) -> list[str]:
    """As Debian's Chromium draws them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(content=get_plotlyjs())
        found = [_svg(page, figure) for figure in figures]
        browser.close()
    return found


def _svg(page: Page, figure: go.Figure) -> str:
    draw = "([figure, width, height]) => Plotly.toImage(figure, {format: 'svg', width, height})"
    address = page.evaluate(draw, [json.loads(figure.to_json()), WIDTH, figure.layout.height])
    return unquote(address.partition(",")[2])
