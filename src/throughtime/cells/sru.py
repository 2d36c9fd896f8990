"""The simple recurrent unit (Lei, Zhang, Wang, Dai, Artzi 2018, arXiv:1709.02755)."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid


class SRU(Cell):
    """c_t = f * c_{t-1} + (1 - f) * z, h_t = r * c_t + (1 - r) * skip: the paper's second version.

    f = sigmoid(x_f + w_f * c_{t-1}), r = sigmoid(x_r + w_r * c_{t-1}), z = x_z. The paper's highway, (1 - r) * x, needs
    as many features as units; as the authors' implementation does where these differ, it is given weights of its own
    here, skip = x_skip. Their first version (2017) has no w and a tanh around c_t.
    """

    gates = ("z", "f", "r", "skip")
    states = ("h", "c")
    enters = "diagonal"
    recurrent_gates = ("f", "r")

    def step(self, x: Any, u: Any, c: Any) -> Update:
        """The gates see the state unit by unit; h is only read out."""
        f, r = sigmoid(x.f + u.f), sigmoid(x.r + u.r)
        return Update(keep=f, write=1 - f, candidate=x.z, output=lambda c: r * c + (1 - r) * x.skip)
