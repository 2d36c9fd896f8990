"""The README runs: every block of Python in it, in order, in one namespace, and every command is one that there is."""

import re
from pathlib import Path

import pytest

from pages import ROOT, blocks, broken_links, unknown_commands

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "readme"}
    found = blocks(README, "python")
    assert len(found) >= 4
    for block in found:
        block.run(namespace)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "exam.nc", "checkpoint.pt"}
    assert "['encoder.l0', 'encoder.l1']" in capsys.readouterr().out


def test_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z]+)", TEXT):
        assert f"\n{target}:" in makefile
    assert unknown_commands(README) == []


def test_files_it_points_to_exist() -> None:
    assert "](docs/report.png)" in TEXT
    assert broken_links(README) == []
