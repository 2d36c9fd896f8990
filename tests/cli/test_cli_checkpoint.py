"""`throughtime examine` on a checkpoint without its code."""

import json

import numpy as np
import pytest
import torch
from torch import nn


@pytest.fixture
def checkpoint(folder):
    torch.manual_seed(0)
    model = nn.ModuleDict({"embed": nn.Embedding(9, 3), "encoder": nn.LSTM(3, 4)})
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, folder / "model.pt")
    return "model.pt"


def test_a_checkpoint_alone(run, folder, checkpoint) -> None:
    result = run("examine", checkpoint, "--steps", "12")
    assert result.exit_code == 0, result.output
    for words in (
        "checkpoint: examined, 13 states\n",
        "encoder.l0  LSTM, 4 units",
        "It was examined without a loss",
        "No loss was followed",
        "median",
        "largest singular value",
        "rows of its embedding embed.weight",
        "The report, with its pictures: report.html",
    ):
        assert words in " ".join(result.stdout.split("│\n│")) or words in result.stdout
    assert "gets no gradient" not in result.stdout and "self-check" not in result.stdout
    page = (folder / "report.html").read_text()
    assert "What a single step does" in page and "How long its units hold" in page
    assert "<h2>What the weights learn from</h2>" not in page
    assert "no loss was followed" in page


def test_data_and_numbers(run, folder, checkpoint) -> None:
    np.save(folder / "data.npy", np.ones((7, 2, 3)) / 2)
    result = run("examine", checkpoint, "--data", "data.npy", "--json", "-", "--out", "other.html")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    (recurrence,) = numbers["recurrences"].values()
    assert recurrence["followed"] == "random directions of h"
    assert (recurrence["steps"], recurrence["batch"], recurrence["reach"], recurrence["weights"]) == (7, 2, {}, {})
    assert recurrence["gradient_share"] is recurrence["windows"] is recurrence["truncation_error"] is None
    assert len(recurrence["time_constants"]) == 4
    assert recurrence["step_jacobian"]["steps"] == [1, 2, 3, 4, 5, 6, 7]
    assert np.shape(recurrence["step_jacobian"]["largest"]) == (7, 2)
    assert "No loss was followed" in numbers["notes"][0]
    assert (folder / "other.html").exists()


def test_any_file_that_is_no_python_is_taken_for_a_checkpoint(run, folder, checkpoint) -> None:
    (folder / "model.pt").rename(folder / "weights")
    result = run("examine", "weights", "--steps", "4")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.pt"], "nothing.pt: no such file"),
        (["whole.pt"], "whole.pt: it holds whole pickled objects (torch.nn.modules.rnn.GRU)"),
        (["head.pt"], "head.pt: found no recurrence, but weight, bias. Expected the state_dict"),
        (["model.pt", "--data", "wide.npy"], "wide.npy: found 5 features in shape (6, 5)"),
        (["model.pt", "--data", "wide.npy", "--steps", "5"], "--steps: it is for inputs that are drawn, but wide.npy"),
        (["model.pt", "--data", "wide.npy", "--out", "wide.npy"], "wide.npy: it would be overwritten, but it is what"),
        (["model.pt", "--out", "model.pt"], "model.pt: it would be overwritten, but it is what is examined"),
        (["model.pt", "--text", "a.txt"], "--text: it is for the training of the four networks, but model.pt"),
        (["model.pt", "--steps", "1"], "steps: expected a whole number of at least 2, found 1"),
        (["model.py:build", "--data", "wide.npy"], "--data: it is for a checkpoint, but model.py:build brings inputs"),
        (["--data", "wide.npy"], "--data: it is for a checkpoint, but the training brings inputs of its own"),
    ],
)
def test_bad_input_is_refused_in_one_message(run, folder, checkpoint, model_file, arguments, message) -> None:
    model_file()
    np.save(folder / "wide.npy", np.ones((6, 5)) / 2)
    torch.save(nn.GRU(2, 3), folder / "whole.pt")
    torch.save(nn.Linear(2, 3).state_dict(), folder / "head.pt")
    result = run("examine", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert "Traceback" not in result.output
    assert not (folder / "report.html").exists()


def test_a_name_is_no_command_to_the_terminal(run, folder) -> None:
    weights = {f"\x1b]0;title\x07\x1b[2J.{name}": value for name, value in nn.GRU(3, 4).state_dict().items()}
    torch.save(weights, folder / "model.pt")
    result = run("examine", "model.pt", "--steps", "12")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output and "\x07" not in result.output
    assert "�]0;title�[2J.l0" in result.stdout
