"""Planted in the data: one sample unlike the others, and padding."""

from typing import Any

import torch
from torch import Tensor, nn

from faults.planted import FEATURES, UNITS, Case, Loss, Planted, every_step, ill, last_step, reading
from faults.weights import biased, orthogonal, recurrent

# Of a padded batch, how many steps of every sample are data.
LENGTHS = (3, 6, 9, 12, 16, 20)


def held_back() -> Case:
    """A tanh network of gain 1.5 whose inputs hold it back: slopes and weights are in balance."""
    layer = recurrent(nn.RNN(FEATURES, UNITS), orthogonal(UNITS, 1.5), inputs=1.0)
    return reading(layer, scale=1.5, loss=last_step)


def one_silent_sample() -> Case:
    """The same with a sample without inputs, which nothing holds back."""
    case = held_back()
    case.inputs[:, 2] = 0
    return case


def padded(case: Case) -> Case:
    """Its inputs cut to LENGTHS and filled up with zeros behind."""
    for sample, length in enumerate(LENGTHS):
        case.inputs[length:, sample] = 0
    return case


def keeping(loss: Loss) -> Case:
    """A healthy tanh network on padded sequences."""
    return padded(reading(recurrent(nn.RNN(FEATURES, UNITS), orthogonal(UNITS)), loss=loss))


def masked(output: Tensor, targets: Tensor) -> Tensor:
    """One loss per step, of the samples that have not ended."""
    there = torch.arange(len(output)).view(-1, 1, 1) < torch.tensor(LENGTHS).view(1, -1, 1)
    return ((output - targets).square() * there).sum((1, 2))


def packed() -> Case:
    """The same sequences, packed, and read at the last step of each."""
    case = padded(reading(biased(nn.LSTM(FEATURES, UNITS), g1=5.0)))
    inputs = nn.utils.rnn.pack_padded_sequence(case.inputs, torch.tensor(LENGTHS), enforce_sorted=False)
    return Case(AtTheEnd(case.model.layer), inputs, lambda output, _: output.square().sum())


class AtTheEnd(nn.Module):
    """Reads the last state of every sample."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(UNITS, 1)

    def forward(self, inputs: Any) -> Tensor:
        """One number per sample."""
        return self.readout(self.layer(inputs)[1][0][-1])


HEALTHY = (
    Planted("tanh, gain 1.5, held back by its inputs", held_back),
    Planted("tanh, orthogonal, padded, losses masked", lambda: keeping(masked)),
    Planted("LSTM, packed, read at the ends", packed),
)

ILL = (
    ill("tanh, gain 1.5, one silent sample", one_silent_sample, "exploding"),
    ill("tanh, orthogonal, padded, last step read", lambda: keeping(last_step), "padding-dominated"),
    ill("tanh, orthogonal, padded, losses of the padding counted", lambda: keeping(every_step), "padding-dominated"),
    ill(
        "GRU, two layers, padded, last step read",
        lambda: padded(reading(nn.GRU(FEATURES, UNITS, num_layers=2), loss=last_step)),
        l0=("vanishing", "padding-dominated"),
        l1=("vanishing", "padding-dominated"),
    ),
)
