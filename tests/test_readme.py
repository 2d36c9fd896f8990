"""The README runs: every block of Python in it, in order, in one namespace, and every command is one that there is."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from throughtime.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "readme"}
    assert len(blocks("python")) >= 4
    for block in blocks("python"):
        # Its lines are numbered as in the file, so that a traceback points there.
        first = README[: README.index(block)].count("\n")
        exec(compile("\n" * first + block, str(ROOT / "README.md"), "exec"), namespace)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "exam.nc", "checkpoint.pt"}
    assert "['encoder.l0', 'encoder.l1']" in capsys.readouterr().out


def test_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z]+)", README):
        assert f"\n{target}:" in makefile
    for command in set(re.findall(r"\bthroughtime ([a-z]+) ", " ".join(blocks("sh")))):
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0
        lines = [line for line in "\n".join(blocks("sh")).splitlines() if line.startswith(f"throughtime {command}")]
        for option in set(re.findall(r"--[a-z]+", " ".join(lines))):
            assert option in shown.stdout


def test_files_it_points_to_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert "docs/report.png" in links
    assert all((ROOT / link).is_file() for link in links)
