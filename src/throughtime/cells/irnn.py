"""The ReLU network that starts from the identity (Le, Jaitly, Hinton 2015, arXiv:1504.00941)."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import relu


class IRNN(Cell):
    """h_t = relu(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh): `RNN("relu")`; what is its own is the start from W_hh = 1.

    At the start the step Jacobian is diag(a > 0).
    """

    gates = ("h",)

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """keep = 0, write = 1."""
        return Update(keep=0, write=1, candidate=relu(x.h + u.h))
