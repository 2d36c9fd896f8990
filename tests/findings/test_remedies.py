"""What is to be tried first suits the cell, and is tried here: the same network, started so, no longer vanishes."""

import math

import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime import init

STEPS, BATCH, SIZE, HIDDEN = 100, 4, 3, 32


class Network(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(HIDDEN, 1)

    def forward(self, inputs):
        return self.readout(self.layer(inputs)[0])


def vanishing(layer):
    torch.manual_seed(0)
    inputs, targets = torch.randn(STEPS, BATCH, SIZE), torch.randn(STEPS, BATCH, 1)
    exam = tt.examine(Network(layer), inputs, targets, loss=lambda out, target: (out - target).square().sum((1, 2)))
    return next((finding for finding in exam.findings if finding.verdict == "vanishing"), None)


def made(kind, *given):
    torch.manual_seed(1)
    return kind(*given, SIZE, HIDDEN)


def with_identity():
    return init.identity_(tt.RNN(SIZE, HIDDEN, nonlinearity="relu"))


def near_one():
    layer = made(tt.IndRNN)
    nn.init.ones_(layer.weight_hh_l0)
    return layer


def near_the_circle():
    layer = made(tt.LRU)
    nn.init.constant_(layer.weight_nu_l0, math.log(1e-2))
    return layer


def mostly_kept():
    layer = made(tt.MinLSTM)
    with torch.no_grad():
        forget, _, _ = layer.bias_ih_l0.chunk(3)
        forget += 4
        layer.bias_ih_l0[HIDDEN : 2 * HIDDEN] -= 4
    return layer


def shrunk(kind, name, value):
    layer = made(kind)
    nn.init.constant_(getattr(layer, name), value)
    return layer


CELLS = {
    "RNN": (lambda: made(nn.RNN), "Use a gated layer", lambda: init.chrono_(made(nn.GRU), STEPS)),
    "RNN, second": (lambda: made(nn.RNN), "Use a gated layer", with_identity),
    "IndRNN": (lambda: shrunk(tt.IndRNN, "weight_hh_l0", 0.5), "With ReLU, start the recurrent weight", near_one),
    "LRU": (lambda: shrunk(tt.LRU, "weight_nu_l0", 0.0), "Start what weight_hh is made of", near_the_circle),
    "CTRNN": (
        lambda: made(tt.Recurrent, tt.cells.CTRNN(tau=3.0)),
        "Keep more at every step",
        lambda: made(tt.Recurrent, tt.cells.CTRNN(tau=float(STEPS))),
    ),
    "GRU": (lambda: made(nn.GRU), "Open the keep gate", lambda: init.chrono_(made(nn.GRU), STEPS)),
    "LSTM": (lambda: made(nn.LSTM), "Open the keep gate", lambda: init.chrono_(made(nn.LSTM), STEPS)),
    "MinLSTM": (lambda: made(tt.MinLSTM), "Start the biases of the gates", mostly_kept),
}


@pytest.mark.parametrize("name", CELLS)
def test_the_first_remedy_cures(name):
    before, remedy, after = CELLS[name]
    found = vanishing(before())
    assert found.remedies[0].startswith(remedy)
    assert vanishing(after()) is None


def test_as_torch_starts_them_gated_layers_vanish_too():
    assert all(vanishing(made(kind)) is not None for kind in (nn.GRU, nn.LSTM, tt.Gated))


def test_an_exploding_unit_is_not_told_of_a_matrix():
    torch.manual_seed(0)
    inputs = torch.rand(20, BATCH, SIZE)
    exam = tt.examine(
        Network(shrunk(tt.IndRNN, "weight_hh_l0", 1.5)),
        inputs,
        torch.zeros(20, BATCH, 1),
        loss=lambda out, target: (out - target).square().sum((1, 2)),
    )
    finding = next(one for one in exam.findings if one.verdict == "exploding")
    assert finding.remedies[-1] == "Keep the recurrent weight of every unit below 1."
