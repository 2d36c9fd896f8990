"""The quasi-recurrent network (Bradbury, Merity, Xiong, Socher 2017, arXiv:1611.01576): a convolution, then gates."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class QRNN(Cell):
    """c_t = f * c_{t-1} + (1 - f) * z, h_t = o * c_t; z, f, o see x_{t-1} and x_t: the paper's "fo-pooling".

    z = tanh(x_z), f = sigmoid(x_f), o = sigmoid(x_o), each a convolution over the last `window` inputs, of which
    `weight_ih` has the oldest in its first columns. Before the first step that is read there are zeros: a sequence that
    is handed over in parts loses what its gates would have seen across the border.

    Args:
        window: How many inputs the gates see.

    Raises:
        ValueError: `window` is below 1.
    """

    gates = ("z", "f", "o")
    states = ("h", "c")
    enters = "none"

    def __init__(self, window: int = 2) -> None:
        if window < 1:
            raise ValueError(f"window: expected at least 1, found {window}")
        self.window = window

    def step(self, x: Any, u: Any, c: Any) -> Update:
        """The write gate is coupled to the keep gate."""
        f, o = sigmoid(x.f), sigmoid(x.o)
        return Update(keep=f, write=1 - f, candidate=tanh(x.z), output=lambda c: o * c)
