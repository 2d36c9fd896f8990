"""The independently recurrent network (Li, Li, Cook, Zhu, Gao 2018, arXiv:1803.04831): each unit sees itself only."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.nonlinearity import NONLINEARITIES, known_nonlinearity


class IndRNN(Cell):
    """h_t = phi(W_ih x_t + b_ih + w_hh * h_{t-1}), phi = relu by default.

    The step Jacobian is diag(phi' * w_hh), so that the gradient over k steps is w_hh^k where phi' is 1. The authors
    draw w_hh from U(0, 1) and hold it below 2^(1/T) for sequences of T steps; here it is drawn as torch draws weights.

    Raises:
        ValueError: `nonlinearity` is neither "tanh" nor "relu".
    """

    gates = ("h",)
    enters = "diagonal"

    def __init__(self, nonlinearity: str = "relu") -> None:
        self.nonlinearity = known_nonlinearity(nonlinearity)

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """keep = 0, write = 1."""
        return Update(keep=0, write=1, candidate=NONLINEARITIES[self.nonlinearity](x.h + u.h))
