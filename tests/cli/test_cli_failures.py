"""Every failure ends in one message on stderr and an exit code that tells its kind."""

import os
import tempfile
from pathlib import Path

import pytest
import typer

from throughtime.cli.failures import TRACEBACK, CheckFailed, check_writable, told


def ended(error: BaseException) -> int:
    with pytest.raises(typer.Exit) as exit, told():
        raise error
    return exit.value.exit_code


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("steps: expected [bold]1[/], found 0"), 2, "error: steps: expected [bold]1[/], found 0\n"),
        (FileNotFoundError("a.txt: no such file"), 2, "error: a.txt: no such file\n"),
        (MemoryError(), 2, "error: not enough memory; give it fewer steps or samples"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 96000000000 bytes."),
            2,
            "error: not enough memory; give it fewer steps or samples",
        ),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (CheckFailed("l0: vanishing: It falls."), 1, "failed: l0: vanishing: It falls.\n"),
        (
            RuntimeError("oops"),
            70,
            "unexpected error: RuntimeError: oops\nThis should not happen. THROUGHTIME_TRACEBACK=1",
        ),
        (AssertionError(), 70, "unexpected error: AssertionError\nThis should not happen."),
    ],
)
def test_kinds_of_failure(capsys, error, code, message) -> None:
    assert ended(error) == code
    captured = capsys.readouterr()
    assert captured.err.startswith(message) and captured.out == ""
    assert "Traceback" not in captured.err


def test_the_traceback_can_be_asked_for(capsys, monkeypatch) -> None:
    monkeypatch.setenv(TRACEBACK, "1")
    ended(RuntimeError("oops"))
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_long_message_is_not_folded(capsys) -> None:
    ended(ValueError("long " * 100 + "end"))
    assert capsys.readouterr().err.count("\n") == 1


def test_a_new_file_and_an_old_one_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "old.html").write_text("old")
    for name in ("old.html", "new.html"):
        check_writable(tmp_path / name)
    check_writable(Path("beside.html"))
    assert [path.name for path in tmp_path.iterdir()] == ["old.html"]


@pytest.mark.parametrize("locked", ["folder", "file"])
def test_a_place_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: str) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied", str(dir))

    # In the system's place, for the tests may run as a user who may write everywhere.
    if locked == "file":
        monkeypatch.setattr(os, "access", lambda asked, mode: Path(asked) != path)
    else:
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(PermissionError, match=r"report\.html: may not be written; give another place"):
        check_writable(path)
