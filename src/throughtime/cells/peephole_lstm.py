"""The LSTM whose gates see what it carries (Gers, Schraudolph, Schmidhuber 2002, JMLR 3)."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class PeepholeLSTM(Cell):
    """An LSTM with i = sigmoid(a_i + w_ci * c_{t-1}), f = sigmoid(a_f + w_cf * c_{t-1}), o = sigmoid(a_o + w_co * c_t).

    As in Graves 2013 (arXiv:1308.0850), equations 7 to 11, the peepholes are diagonal: each gate sees the cell of its
    own unit. TensorFlow's LSTMCell(use_peepholes=True) computes the same.
    """

    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    units = ("ci", "cf", "co")

    def step(self, x: Any, u: Any, c: Any, w: Any = None) -> Update:
        """The output gate sees the new carried state, the others the old one."""
        i, f = sigmoid(x.i + u.i + w.ci * c), sigmoid(x.f + u.f + w.cf * c)
        g = tanh(x.g + u.g)
        return Update(keep=f, write=i, candidate=g, output=lambda c: sigmoid(x.o + u.o + w.co * c) * tanh(c))
