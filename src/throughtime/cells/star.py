"""The stackable recurrent cell (Turkoglu, D'Aronco, Wegner, Schindler 2021, arXiv:1911.11033)."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class STAR(Cell):
    """h_t = tanh((1 - k) * h_{t-1} + k * z), k = sigmoid(a_k), z = tanh(x_z).

    Written with what stands inside the tanh as the carried state, c_t = (1 - k) * tanh(c_{t-1}) + k * z and
    h_t = tanh(c_t): the layer's state is the pair (h, c). The candidate sees the input only.
    """

    gates = ("k", "z")
    states = ("h", "c")
    recurrent_gates = ("k",)

    def step(self, x: Any, u: Any, c: Any) -> Update:
        """Held is h_{t-1}, which is tanh(c_{t-1})."""
        k = sigmoid(x.k + u.k)
        return Update(keep=1 - k, write=k, candidate=tanh(x.z), output=tanh, held=tanh(c))
