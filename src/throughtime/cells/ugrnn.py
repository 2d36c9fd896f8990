"""The update gate network (Collins, Sohl-Dickstein, Sussillo 2017, arXiv:1611.09913): one gate, coupled."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class UGRNN(Cell):
    """h_t = g * h_{t-1} + (1 - g) * c, g = sigmoid(a_g), c = tanh(a_c).

    The authors add a constant to a_g, 1 in TensorFlow's UGRNNCell, so that the gate starts open; here it is a
    part of `bias_ih`.
    """

    gates = ("g", "c")

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """The write gate is coupled to the keep gate."""
        g = sigmoid(x.g + u.g)
        return Update(keep=g, write=1 - g, candidate=tanh(x.c + u.c))
