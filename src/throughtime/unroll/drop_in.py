"""The layers that take the place of `torch.nn`'s: one class for every cell, with torch's argument order."""

import inspect
import math
from typing import Any, ClassVar

import torch
from torch import nn

from throughtime import cells
from throughtime.cells import Cell
from throughtime.unroll.layer import Recurrent

# Of the ring on which the eigenvalues of an LRU start; Orvieto et al. 2023, lemma 3.2, leave both free.
SMALLEST_MODULUS, LARGEST_MODULUS = 0.5, 0.99


class DropIn(Recurrent):
    """A layer of one cell, called like torch's; what the cell itself takes is given by keyword."""

    equations: ClassVar[type[Cell]]

    def __init__(self, input_size: int, hidden_size: int, *arguments: Any, **keywords: Any) -> None:
        of_cell = {
            name: keywords.pop(name) for name in inspect.signature(self.equations).parameters if name in keywords
        }
        super().__init__(self.equations(**of_cell), input_size, hidden_size, *arguments, **keywords)


class RNN(Recurrent):
    """`torch.nn.RNN` as equations: same arguments, weights and outputs. See `Recurrent` for the rest."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *arguments: Any,
        **keywords: Any,
    ) -> None:
        super().__init__(cells.RNN(nonlinearity), input_size, hidden_size, num_layers, *arguments, **keywords)
        self.nonlinearity = nonlinearity


class Gated(DropIn):
    """The story's layer: two gates and a candidate, each a recurrent layer. See `cells.Gated` and `Recurrent`."""

    equations = cells.Gated


class GRU(DropIn):
    """`torch.nn.GRU` as equations: same arguments, weights and outputs. See `cells.GRU` and `Recurrent`."""

    equations = cells.GRU


class LSTM(DropIn):
    """`torch.nn.LSTM` as equations: same arguments, weights and outputs. See `cells.LSTM` and `Recurrent`."""

    equations = cells.LSTM


class CTRNN(DropIn):
    """The leaky network of neuroscience, with a time constant: `tau`, `dt`. See `cells.CTRNN` and `Recurrent`."""

    equations = cells.CTRNN


class AntisymmetricRNN(DropIn):
    """W - W^T as the recurrent weights: `epsilon`, `gamma`. See `cells.AntisymmetricRNN` and `Recurrent`."""

    equations = cells.AntisymmetricRNN


class IndRNN(DropIn):
    """Every unit sees itself only: `nonlinearity`. See `cells.IndRNN` and `Recurrent`."""

    equations = cells.IndRNN


class MGU(DropIn):
    """A GRU whose two gates are one. See `cells.MGU` and `Recurrent`."""

    equations = cells.MGU


class UGRNN(DropIn):
    """One gate, coupled. See `cells.UGRNN` and `Recurrent`."""

    equations = cells.UGRNN


class JANET(DropIn):
    """An LSTM's forget gate alone: `beta`. See `cells.JANET` and `Recurrent`."""

    equations = cells.JANET


class LiGRU(DropIn):
    """A GRU without a reset gate and with a ReLU candidate. See `cells.LiGRU` and `Recurrent`."""

    equations = cells.LiGRU


class MinGRU(DropIn):
    """Gates that see the input only, one of them coupled. See `cells.MinGRU` and `Recurrent`."""

    equations = cells.MinGRU


class MinLSTM(DropIn):
    """Gates that see the input only, divided by their sum. See `cells.MinLSTM` and `Recurrent`."""

    equations = cells.MinLSTM


class PeepholeLSTM(DropIn):
    """An LSTM whose gates see what it carries. See `cells.PeepholeLSTM` and `Recurrent`."""

    equations = cells.PeepholeLSTM


class CoupledLSTM(DropIn):
    """An LSTM that writes as much as it forgets. See `cells.CoupledLSTM` and `Recurrent`."""

    equations = cells.CoupledLSTM


class RAN(DropIn):
    """An LSTM without an output gate, whose candidate sees the input only. See `cells.RAN` and `Recurrent`."""

    equations = cells.RAN


class STAR(DropIn):
    """One coupled gate, and a tanh around the state. See `cells.STAR` and `Recurrent`."""

    equations = cells.STAR


class CFN(DropIn):
    """Without input every state decays to zero. See `cells.CFN` and `Recurrent`."""

    equations = cells.CFN


class SRU(DropIn):
    """Gates that see the state unit by unit, and a highway past it. See `cells.SRU` and `Recurrent`."""

    equations = cells.SRU


class QRNN(DropIn):
    """A convolution over the last inputs, then gates: `window`. See `cells.QRNN` and `Recurrent`."""

    equations = cells.QRNN


class IRNN(DropIn):
    """A ReLU network that starts from W_hh = 1 and biases of 0. See `cells.IRNN` and `Recurrent`."""

    equations = cells.IRNN

    def reset_parameters(self) -> None:
        """The identity for W_hh, 0 for biases, N(0, 0.001^2) for W_ih (Le, Jaitly, Hinton 2015, section 3)."""
        for name, parameter in self.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.eye_(parameter)
            elif name.startswith("weight_ih"):
                nn.init.normal_(parameter, std=1e-3)
            else:
                nn.init.zeros_(parameter)


class LRU(DropIn):
    """Complex diagonal and linear; `hidden_size` is twice the number of complex units. See `cells.LRU`."""

    equations = cells.LRU

    def reset_parameters(self) -> None:
        """Eigenvalues uniformly over the ring between 0.5 and 0.99, scaled for states of unit size.

        Orvieto et al. 2023, lemma 3.2 and section 3.4, with B drawn from N(0, 1/(2 input_size)), biases of 0.
        """
        for layer in range(self.num_layers):
            for direction in range(self.num_directions):
                self._reset(self.suffix(layer, direction))

    @torch.no_grad()
    def _reset(self, suffix: str) -> None:
        parts = {name: getattr(self, name + suffix) for name in self.weight_names}
        square = torch.empty_like(parts["weight_nu"]).uniform_(SMALLEST_MODULUS**2, LARGEST_MODULUS**2)
        parts["weight_nu"].copy_((-square.log() / 2).log())
        parts["weight_theta"].copy_(torch.empty_like(square).uniform_(0, 2 * math.pi).log())
        parts["weight_gamma"].copy_((1 - square).log() / 2)
        nn.init.normal_(parts["weight_ih"], std=(2 * parts["weight_ih"].shape[1]) ** -0.5)
        if "bias_ih" in parts:
            nn.init.zeros_(parts["bias_ih"])
