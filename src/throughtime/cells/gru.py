"""The gated recurrent unit (Cho et al. 2014), reset after the product as in PyTorch and cuDNN."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class GRU(Cell):
    """h_t = z * h_{t-1} + (1 - z) * n, n = tanh(x_n + r * u_n): `torch.nn.GRU`'s equations and gate order.

    Cho et al. apply the reset gate to h_{t-1} before the product with W_hn; PyTorch applies it after.
    """

    gates = ("r", "z", "n")

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """The write gate is coupled to the keep gate: write = 1 - keep."""
        r = sigmoid(x.r + u.r)
        z = sigmoid(x.z + u.z)
        n = tanh(x.n + r * u.n)
        return Update(keep=z, write=1 - z, candidate=n)
