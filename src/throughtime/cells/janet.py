"""JANET, just another network (van der Westhuizen, Lasenby 2018, arXiv:1804.04849): an LSTM's forget gate alone."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class JANET(Cell):
    """h_t = f * h_{t-1} + (1 - f) * g, f = sigmoid(a_f), g = tanh(a_g).

    The paper trains a variant that writes with 1 - sigmoid(a_f - beta), beta = 1: here `beta` is 0 by default, which
    makes it the coupled gate of the equation.

    Args:
        beta: By how much less than it forgets the cell writes, in units of the gate's pre-activation.
    """

    gates = ("f", "g")

    def __init__(self, beta: float = 0.0) -> None:
        self.beta = beta

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """The write gate is coupled to the keep gate."""
        a = x.f + u.f
        return Update(keep=sigmoid(a), write=1 - sigmoid(a - self.beta), candidate=tanh(x.g + u.g))
