"""The light GRU (Ravanelli, Brakel, Omologo, Bengio 2018, arXiv:1803.10225): no reset gate, a ReLU candidate."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import relu, sigmoid


class LiGRU(Cell):
    """h_t = z * h_{t-1} + (1 - z) * n, z = sigmoid(a_z), n = relu(a_n).

    The authors, and SpeechBrain, normalise W_ih x_t over the batch, which keeps the ReLU from running away; here there
    is no normalisation.
    """

    gates = ("z", "n")

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """The write gate is coupled to the keep gate."""
        z = sigmoid(x.z + u.z)
        return Update(keep=z, write=1 - z, candidate=relu(x.n + u.n))
