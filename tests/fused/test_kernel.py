"""Kernels on disk, and what is said of them."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

import throughtime.fused.generated as files
from throughtime.cells import MinGRU
from throughtime.fused import kernel as kernels
from throughtime.fused.kernel import Kernel


def arguments() -> list[object]:
    order = [np.array([0, 2]), False, True, np.full(2, 4), np.zeros((4, 2), dtype=bool)]
    read = [np.zeros((4, 2, 5)), np.zeros((5, 6)), np.zeros(6)]
    return [*order, *read, np.zeros((2, 3)), *(np.zeros((4, 2, width)) for width in (3, 3, 6))]


def test_compiled_once_for_a_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(files, "_folder", lambda: tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with caplog.at_level(logging.INFO, logger=kernels.__name__):
        for _ in range(2):
            Kernel(MinGRU(), torch.float64).compiled("forward", arguments())
    first, second = (record.message for record in caplog.records)
    assert first.startswith("MinGRU() in float64, forward: compiled in ")
    assert second.startswith("MinGRU() in float64, forward: read from disk in ")
    assert capsys.readouterr().err.count("a few seconds, once on this machine") == 1
    assert len(list(tmp_path.glob("*.py"))) == 1
    assert not list(tmp_path.glob("*.part"))


def test_the_folder_is_numbas_where_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert files._folder.__wrapped__() == tmp_path / "throughtime-kernels"


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(in_the_way))
    folder = files._folder.__wrapped__()
    assert folder.is_dir()
    assert tmp_path not in folder.parents
    folder.rmdir()
