"""The chaos-free network (Laurent, von Brecht 2017, arXiv:1612.06212): without input every state decays to zero."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class CFN(Cell):
    """h_t = f * tanh(h_{t-1}) + i * tanh(x_n), f = sigmoid(a_f), i = sigmoid(a_i)."""

    gates = ("f", "i", "n")
    recurrent_gates = ("f", "i")

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """Held is tanh(h_{t-1}), not h_{t-1} itself; the candidate sees the input only."""
        f, i = sigmoid(x.f + u.f), sigmoid(x.i + u.i)
        return Update(keep=f, write=i, candidate=tanh(x.n), held=tanh(h))
