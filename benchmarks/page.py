"""The benchmarks as a page with pictures, and their numbers as JSON."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from benchmarks.section import Section

DOCS = Path(__file__).parents[1] / "docs"
# By device: the name of the page and of the folder beside it.
NAMES = {"cpu": "benchmarks", "cuda": "benchmarks-gpu"}
WIDTH = 900  # of a picture, pixels
INTRODUCTION = """# Benchmarks{on}

How fast, against what. Every speed stands beside an alternative that was measured in the same run, taking turns with
it, and none is shown before both have found the same numbers. {how}"""
ON = {"cpu": "", "cuda": " on a GPU"}
HOW = {
    "cpu": "`make bench` measures everything anew and writes\nthis page. [The same on a GPU](benchmarks-gpu.md).",
    "cuda": "`python -m benchmarks --device cuda` measures\neverything anew and writes this page. "
    "[The same on a CPU](benchmarks.md). All products are of float32 numbers, not of TF32's.\n\n"
    "A step of these sizes is less work for a GPU than to call what does it, so that it counts how often something is\n"
    "called. Of the peers, JAX alone compiles its loop and calls nothing on the way.",
}


def write(sections: Sequence[Section], device: str, machine: str) -> None:
    """Write docs/benchmarks.md, or that of a GPU, and its pictures and numbers to a folder beside it."""
    name = NAMES[device]
    folder = DOCS / name
    folder.mkdir(exist_ok=True)
    numbers = {"machine": machine} | {section.name: section.numbers for section in sections}
    (folder / "results.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    pictures = {section.file(shows): drawn for section in sections for shows, drawn in section.pictures.items()}
    for file, svg in zip(pictures, svgs(list(pictures.values())), strict=True):
        (folder / file).write_text(svg, encoding="utf-8")
    measured_on = f"Measured with {machine}; all numbers are in [results.json]({name}/results.json)."
    introduction = INTRODUCTION.format(on=ON[device], how=HOW[device])
    parts = [introduction, measured_on, *(section.markdown(name) for section in sections)]
    (DOCS / f"{name}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def write_from(files: Sequence[str]) -> None:
    """The page of what `python -m benchmarks --into FILE` has kept."""
    found = [json.loads(Path(file).read_text(encoding="utf-8")) for file in files]
    sections = [Section.from_json(section) for one in found for section in one["sections"]]
    write(sections, found[0]["device"], found[0]["machine"])


def svgs(figures: Sequence[go.Figure]) -> list[str]:
    """As Debian's Chromium draws them."""
    # Where measured is all there is to do, there may be no browser.
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(content=get_plotlyjs())
        found = [_svg(page, figure) for figure in figures]
        browser.close()
    return found


def _svg(page: Any, figure: go.Figure) -> str:
    draw = "([figure, width, height]) => Plotly.toImage(figure, {format: 'svg', width, height})"
    address = page.evaluate(draw, [json.loads(figure.to_json()), WIDTH, figure.layout.height])
    return unquote(address.partition(",")[2])


if __name__ == "__main__":
    write_from(sys.argv[1:])
