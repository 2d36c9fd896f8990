"""The command line as a function, in an empty folder."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from throughtime.cli import app

MODEL = """
import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(3, 6)
        self.readout = nn.Linear(6, 1)

    def forward(self, inputs):
        return self.readout(self.encoder(inputs)[0])


def loss(output, targets):
    return (output - targets).square().sum((1, 2))


def build():
    return Tagger(), torch.randn(9, 4, 3), torch.randn(9, 4, 1), loss
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one; nothing forces colours."""
    monkeypatch.chdir(tmp_path)
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Callable[..., Result]:
    """run("examine", "--seed", "1"): exit code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def model_file(folder: Path) -> Callable[..., str]:
    """model_file(more): writes model.py, a model and `build` with more lines below them, and returns its name."""

    def write(more: str = "", name: str = "model.py") -> str:
        (folder / name).write_text(MODEL + more)
        return name

    return write


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main job examines 20 steps instead of 160."""
    # By its full name the package's attribute is the function, not the module.
    monkeypatch.setattr(sys.modules["throughtime.compare.next_character"], "EXAMINED_STEPS", 20)
