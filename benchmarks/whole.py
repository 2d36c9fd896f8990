"""A whole examination, with all measures, causes and its self-check, against the bare sweep and training steps."""

import torch
from rich.table import Table
from torch import Tensor, nn

import throughtime as tt
from benchmarks.network import Network
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

    def __init__(self, layer: type[nn.Module]) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(CLASSES, HIDDEN), layer(HIDDEN, HIDDEN)
        self.readout = nn.Linear(HIDDEN, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        return self.readout(self.layer(self.embedding(inputs))[0])


def loss(output: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy per step, summed over the batch."""
    losses = nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view_as(targets).sum(1)


def table() -> Table:
    """Seconds of the whole examination; each checks itself against .grad and raises where it differs."""
    title = f"tt.examine, T = {STEPS}, B = {BATCH}, H = {HIDDEN}"
    shown = Table("cell", "examine, s", "bare sweeps", "training steps", title=title)
    for name, (layer, cell) in LAYERS.items():
        torch.manual_seed(0)
        model, (inputs, targets) = Model(layer), torch.randint(CLASSES, (2, STEPS, BATCH))

        def step(model: Model = model, inputs: Tensor = inputs, targets: Tensor = targets) -> None:
            model.zero_grad()
            loss(model(inputs), targets).sum().backward()

        def examine(model: Model = model, inputs: Tensor = inputs, targets: Tensor = targets) -> tt.Examination:
            return tt.examine(model, inputs, targets, loss=loss)

        network = Network.drawn(cell, STEPS, BATCH, HIDDEN)
        seconds = side_by_side({"step": step, "examine": examine, "sweep": network.swept})
        ratios = [f"{seconds['examine'] / seconds[other]:.1f}" for other in ("sweep", "step")]
        shown.add_row(name, f"{seconds['examine']:.2f}", *ratios)
    return shown
