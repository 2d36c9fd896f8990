"""The minimal LSTM (Feng, Tung, Ahmed, Bengio, Hajimirsadeghi 2024, arXiv:2410.01201): its gates see no state."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid


class MinLSTM(Cell):
    """h_t = f / (f + i) * h_{t-1} + i / (f + i) * n, f = sigmoid(x_f), i = sigmoid(x_i), n = x_n: section 3.2.

    The two gates are divided by their sum, so that the step Jacobian, diag(f / (f + i)), is never above 1. Popular
    implementations follow the paper's appendix B; see `MinGRU`.
    """

    gates = ("f", "i", "n")
    enters = "none"

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """Everything but what is carried comes from the input."""
        f, i = sigmoid(x.f), sigmoid(x.i)
        # f / (f + i), in the form whose derivative takes no difference of nearly equal numbers.
        return Update(keep=1 / (1 + i / f), write=1 / (1 + f / i), candidate=x.n)
