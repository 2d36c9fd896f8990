"""The LSTM that writes as much as it forgets (Greff, Srivastava, Koutnik, Steunebrink, Schmidhuber 2017)."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class CoupledLSTM(Cell):
    """c_t = (1 - i) * c_{t-1} + i * g, h_t = o * tanh(c_t): CIFG of arXiv:1503.04069, f = 1 - i.

    Others couple the other way, i = 1 - f, which is the same with the sign of one gate's weights changed.
    """

    gates = ("i", "g", "o")
    states = ("h", "c")

    def step(self, x: Any, u: Any, c: Any) -> Update:
        """The keep gate is coupled to the write gate."""
        i, o = sigmoid(x.i + u.i), sigmoid(x.o + u.o)
        return Update(keep=1 - i, write=i, candidate=tanh(x.g + u.g), output=lambda c: o * tanh(c))
