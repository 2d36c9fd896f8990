"""Pages of Markdown: their blocks of code, which the tests run, and what they name, which must exist."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from throughtime.cli import app

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Block:
    """A block of code.

    Args:
        page: The file it is in.
        line: The number of lines above it.
        section: The heading it stands under.
        code: What it says.
    """

    page: Path
    line: int
    section: str
    code: str

    def run(self, namespace: dict[str, Any]) -> None:
        """Its lines are numbered as in the file, so that a traceback points there."""
        exec(compile("\n" * self.line + self.code, str(self.page), "exec"), namespace)


def blocks(page: Path, language: str) -> list[Block]:
    """All blocks of a language, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: match.start(1)].count("\n"), _headings(text[: match.start()])[-1], match[1])
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    ]


def broken_links(page: Path) -> list[str]:
    """Links to files that do not exist, and to headings that are not in them."""
    broken = []
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        anchors = map(anchor, _headings(target.read_text(encoding="utf-8"))) if heading and target.is_file() else ()
        if not target.is_file() or (heading and heading not in anchors):
            broken.append(link)
    return broken


def anchor(heading: str) -> str:
    """A heading as it is linked to: in small letters, hyphens for spaces, without punctuation."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def unknown_commands(page: Path) -> list[str]:
    """Lines of shell that call the command line with a command or an option that it does not have."""
    unknown = []
    for line in "".join(block.code for block in blocks(page, "sh")).splitlines():
        if line.startswith("throughtime "):
            words = line.partition("  #")[0].split()
            shown = CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "200"})
            options = [word for word in words if word.startswith("--")]
            if shown.exit_code != 0 or any(option not in shown.stdout for option in options):
                unknown.append(line)
    return unknown


def _headings(text: str) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+ (.*)$", prose, flags=re.MULTILINE)
