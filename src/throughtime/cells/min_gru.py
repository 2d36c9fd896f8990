"""The minimal GRU (Feng, Tung, Ahmed, Bengio, Hajimirsadeghi 2024, arXiv:2410.01201): its gates see no state."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid


class MinGRU(Cell):
    """h_t = (1 - z) * h_{t-1} + z * n, z = sigmoid(x_z), n = x_n: the paper's section 3.1.

    The step Jacobian is diag(1 - z), never above 1. Popular implementations follow the paper's appendix B instead,
    which makes the candidate positive (x + 1/2 above 0, sigmoid(x) below) in order to work with logarithms.
    """

    gates = ("z", "n")
    enters = "none"

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """Everything but what is carried comes from the input."""
        z = sigmoid(x.z)
        return Update(keep=1 - z, write=z, candidate=x.n)
