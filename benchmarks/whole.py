"""A whole examination, with all measures, causes and its self-check, against the bare sweep and training steps."""

from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

import throughtime as tt
from benchmarks import machine
from benchmarks.drawing import bars
from benchmarks.network import Network
from benchmarks.section import Section
from benchmarks.timing import side_by_side
from throughtime import cells

STEPS, BATCH, HIDDEN, CLASSES = 200, 8, 128, 60
LAYERS = {
    "RNN": (nn.RNN, cells.RNN()),
    "Gated": (tt.Gated, cells.Gated()),
    "GRU": (nn.GRU, cells.GRU()),
    "LSTM": (nn.LSTM, cells.LSTM()),
}


class Model(nn.Module):
    """Embedding, recurrence, readout."""

    def __init__(self, layer: type[nn.Module], hidden: int = HIDDEN) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(CLASSES, hidden), layer(hidden, hidden)
        self.readout = nn.Linear(hidden, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        return self.readout(self.layer(self.embedding(inputs))[0])


def loss(output: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy per step, summed over the batch."""
    losses = nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view_as(targets).sum(1)


def measured() -> Section:
    """Seconds of the whole examination; each checks itself against .grad and raises where it differs."""
    numbers = [one(name) for name in LAYERS]
    rows = [
        (
            found["cell"],
            f"{found['seconds']['examine']:.3f}",
            *(f"{found['seconds']['examine'] / found['seconds'][other]:.1f}" for other in ("sweep", "step")),
        )
        for found in numbers
    ]
    return Section(
        "whole",
        f"A whole tt.examine, T = {STEPS}, B = {BATCH}, H = {HIDDEN}, all losses followed",
        "With all measures, causes, findings and the check of the weight terms against .grad. A training step is the "
        "forward and the backward pass of the same model. Gated is Throughtime's own layer; the others are torch's.",
        ("cell", "examine, s", "in bare sweeps", "in training steps"),
        rows,
        numbers,
        {"A whole examination in training steps": _picture(numbers)},
    )


def one(name: str) -> dict[str, Any]:
    """One cell."""
    layer, cell = LAYERS[name]
    torch.manual_seed(0)
    with machine.DEVICE:
        model, (inputs, targets) = Model(layer), torch.randint(CLASSES, (2, STEPS, BATCH))

    def step() -> None:
        model.zero_grad()
        loss(model(inputs), targets).sum().backward()

    network = Network.drawn(cell, STEPS, BATCH, HIDDEN)
    runs = {"step": step, "examine": lambda: tt.examine(model, inputs, targets, loss=loss), "sweep": network.swept}
    return {"cell": name, "seconds": {run: timed.seconds for run, timed in side_by_side(runs).items()}}


def _picture(numbers: list[dict[str, Any]]) -> go.Figure:
    taken = {found["cell"]: found["seconds"]["examine"] / found["seconds"]["step"] for found in numbers}
    return bars(taken, "training steps")
