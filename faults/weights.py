"""How the weights of a planted network are set."""

import torch
from torch import Tensor, nn


def recurrent(layer: nn.Module, weight: Tensor, inputs: float = 0.1) -> nn.Module:
    """A layer with this `weight_hh`, no biases, and `weight_ih` so many times its usual size."""
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_hh"):
            parameter.copy_(weight)
        elif name.startswith("weight_ih"):
            parameter.mul_(inputs)
        elif name.startswith("bias"):
            parameter.zero_()
    return layer


def orthogonal(units: int, gain: float = 1.0) -> Tensor:
    """gain * Q, whose singular values are all `gain`."""
    return gain * torch.linalg.qr(torch.randn(units, units))[0]


def gaussian(units: int, gain: float) -> Tensor:
    """Independent normal numbers of variance gain^2 / units."""
    return gain * torch.randn(units, units) / units**0.5


def growing_first(units: int) -> Tensor:
    """Pairs of units [[.9, 5], [0, .9]]: spectral radius 0.9, but the 9th power is 19 times as long as the first."""
    return torch.block_diag(*[torch.tensor([[0.9, 5.0], [0.0, 0.9]])] * (units // 2))


def biased(layer: nn.Module, **gates: float) -> nn.Module:
    """A layer with biases of the gates that are named by their place among the rows, g0, g1, ...: g1=5."""
    units = layer.hidden_size
    for name, parameter in layer.named_parameters():
        if name.startswith("bias_ih"):
            for gate, value in gates.items():
                row = int(gate.removeprefix("g")) * units
                parameter[row : row + units] = value
    return layer


def chrono(layer: nn.Module, longest: int, forget: int, write: int | None = None) -> nn.Module:
    """Forget biases ln U[1, longest - 1], and their negatives for the write gate (Tallec, Ollivier 2018, eq. 16)."""
    units = layer.hidden_size
    for name, parameter in layer.named_parameters():
        if name.startswith("bias_ih"):
            held = (1 + (longest - 2) * torch.rand(units)).log()
            parameter[forget * units : (forget + 1) * units] = held
            if write is not None:
                parameter[write * units : (write + 1) * units] = -held
    return layer
