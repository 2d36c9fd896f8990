"""The recurrent additive network (Lee, Levy, Zettlemoyer 2017, arXiv:1705.07393): a sum of gated inputs."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class RAN(Cell):
    """c_t = f * c_{t-1} + i * n, h_t = tanh(c_t), n = x_n; the gates see x_t and h_{t-1}.

    The candidate is linear and sees the input only. The paper also tries h_t = c_t.
    """

    gates = ("n", "i", "f")
    states = ("h", "c")
    recurrent_gates = ("i", "f")

    def step(self, x: Any, u: Any, c: Any) -> Update:
        """An LSTM without an output gate, whose candidate sees no state."""
        i, f = sigmoid(x.i + u.i), sigmoid(x.f + u.f)
        return Update(keep=f, write=i, candidate=x.n, output=tanh)
