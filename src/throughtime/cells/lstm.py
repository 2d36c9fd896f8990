"""Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers, Schmidhuber, Cummins 2000)."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class LSTM(Cell):
    """c_t = f * c_{t-1} + i * g, h_t = o * tanh(c_t): `torch.nn.LSTM`'s equations and gate order."""

    gates = ("i", "f", "g", "o")
    states = ("h", "c")

    def step(self, x: Any, u: Any, c: Any) -> Update:
        """The gated form for c; h is its gated output."""
        i, f, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
        g = tanh(x.g + u.g)
        return Update(keep=f, write=i, candidate=g, output=lambda c: o * tanh(c))
