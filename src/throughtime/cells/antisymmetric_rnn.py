"""The antisymmetric network (Chang, Chen, Haber, Chi 2019, arXiv:1902.09689): W - W^T neither grows nor decays."""

from typing import Any

import torch

from throughtime.cells.cell import Cell, Named, Update
from throughtime.cells.functions import tanh


class AntisymmetricRNN(Cell):
    """h_t = h_{t-1} + epsilon * tanh(W_ih x_t + b_ih + (W - W^T - gamma) h_{t-1} + b_hh).

    The layer's parameter `weight_hh` is W; what an examination calls by that name is W - W^T - gamma, as it enters the
    product.

    Args:
        epsilon: The step size of the forward Euler method.
        gamma: The diffusion that makes the method stable.
    """

    gates = ("h",)

    def __init__(self, epsilon: float = 0.1, gamma: float = 0.01) -> None:
        self.epsilon, self.gamma = epsilon, gamma

    def made(self, weights: Named) -> Named:
        """W - W^T - gamma, whose eigenvalues are imaginary but for -gamma."""
        weight = weights["weight_hh"]
        identity = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        return weights | {"weight_hh": weight - weight.T - self.gamma * identity}

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """Everything is kept, and a part of the candidate added."""
        return Update(keep=1, write=self.epsilon, candidate=tanh(x.h + u.h))
