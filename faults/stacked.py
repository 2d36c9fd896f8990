"""Planted in one layer or direction of several, or between them and the loss."""

import torch
from torch import Tensor, nn

import throughtime as tt
from faults.planted import BATCH, FEATURES, STEPS, UNITS, Case, Planted, every_step, ill, plain, reading
from faults.weights import biased, orthogonal, recurrent

OPEN = 5.0


def readout(scale: float) -> Case:
    """A healthy layer whose readout is so many times its usual size."""
    case = reading(recurrent(nn.RNN(FEATURES, UNITS), orthogonal(UNITS)))
    case.model.readout.weight.mul_(scale)
    return case


def one_direction(suffix: str) -> Case:
    """A bidirectional LSTM that forgets in one direction only."""
    layer = biased(nn.LSTM(FEATURES, UNITS, bidirectional=True), g1=OPEN)
    getattr(layer, f"bias_ih_l0{suffix}")[UNITS : 2 * UNITS] = 0
    return reading(layer, width=2 * UNITS)


def one_layer(index: int) -> Case:
    """Two layers of a GRU, of which one forgets."""
    layer = biased(nn.GRU(FEATURES, UNITS, num_layers=2), g1=4.0)
    getattr(layer, f"bias_ih_l{index}")[UNITS : 2 * UNITS] = 0
    return reading(layer)


def dead_on_top() -> Case:
    """A healthy layer, below one whose units are all silent."""
    layer = recurrent(nn.RNN(FEATURES, UNITS, num_layers=2, nonlinearity="relu"), torch.eye(UNITS))
    layer.bias_ih_l0.fill_(0.5)
    layer.bias_ih_l1.fill_(-50.0)
    return reading(layer)


class Detaching(nn.Module):
    """Runs its layer in chunks, and cuts the graph between them."""

    def __init__(self, layer: nn.Module, chunk: int) -> None:
        super().__init__()
        self.layer, self.readout, self.chunk = layer, nn.Linear(UNITS, 1), chunk

    def forward(self, inputs: Tensor) -> Tensor:
        """One number per step and sample."""
        state, outputs = None, []
        for part in inputs.split(self.chunk):
            output, state = self.layer(part, state)
            state = tuple(one.detach() for one in state) if isinstance(state, tuple) else state.detach()
            outputs.append(output)
        return self.readout(torch.cat(outputs))


def detaching(layer: nn.Module, chunk: int) -> Case:
    """A layer whose model cuts it after every so many steps."""
    targets = torch.randn(STEPS, BATCH, 1)
    return Case(Detaching(layer, chunk), torch.randn(STEPS, BATCH, FEATURES), every_step, targets)


def far_from_cuts(output: Tensor, targets: Tensor) -> Tensor:
    """The losses of the last third of every window of 24 steps: none stands right behind a cut."""
    losses = every_step(output, targets)
    return losses * (torch.arange(len(losses)) % 24 >= 16)


def windowed(layer: nn.Module, window: int) -> Case:
    """A healthy layer that is trained in windows."""
    return reading(recurrent(layer, orthogonal(UNITS)), window=window)


HEALTHY = (
    Planted(
        "LSTM, two layers, both directions, forget bias +5",
        lambda: reading(biased(nn.LSTM(FEATURES, UNITS, num_layers=2, bidirectional=True), g1=OPEN), width=2 * UNITS),
    ),
    Planted("GRU, two layers, update bias +4", lambda: reading(biased(nn.GRU(FEATURES, UNITS, num_layers=2), g1=4.0))),
    # What the lower layer forgets, the upper one remembers: the lower one's weights learn from all lags.
    Planted("GRU, two layers, lower forgets, upper remembers", lambda: one_layer(0)),
    Planted("tanh, orthogonal, window of all steps", lambda: windowed(nn.RNN(FEATURES, UNITS), STEPS)),
    Planted("LSTM, projected", lambda: reading(biased(plain(tt.LSTM, proj_size=8), g1=OPEN), width=8)),
)

ILL = (
    ill("LSTM, both directions, forward forgets", lambda: one_direction(""), l0=("vanishing",)),
    ill("LSTM, both directions, reverse forgets", lambda: one_direction("_reverse"), **{"l0.reverse": ("vanishing",)}),
    ill("GRU, two layers, lower remembers, upper forgets", lambda: one_layer(1), l1=("vanishing",)),
    ill(
        "ReLU, two layers, the upper dead",
        dead_on_top,
        l0=("readout-bound",),
        l1=("vanishing", "dead ReLU"),
    ),
    ill("readout of zeros", lambda: readout(0.0), "readout-bound"),
    ill("readout of 1e-9", lambda: readout(1e-9), "readout-bound"),
    ill("tanh, orthogonal, windows of 10 steps", lambda: windowed(nn.RNN(FEATURES, UNITS), 10), "truncated"),
    # The windows hold all that comes through: to make them longer would not help.
    ill(
        "GRU, torch's initialisation, windows of 24 steps",
        lambda: reading(nn.GRU(FEATURES, UNITS), loss=far_from_cuts, window=24),
        "vanishing",
    ),
    ill(
        "LSTM, detached every 20 steps",
        lambda: detaching(biased(nn.LSTM(FEATURES, UNITS), g1=OPEN), 20),
        "truncated",
    ),
)
