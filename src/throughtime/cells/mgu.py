"""The minimal gated unit (Zhou, Wu, Zhang, Zhou 2016, arXiv:1603.09420): a GRU whose two gates are one."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class MGU(Cell):
    """h_t = (1 - f) * h_{t-1} + f * n, f = sigmoid(a_f), n = tanh(x_n + f * u_n).

    The paper applies the gate to h_{t-1} before the product with W_hn, as Cho et al. do in the GRU; here it is applied
    after it, as PyTorch does there, so that all products with h_{t-1} are one.
    """

    gates = ("f", "n")

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """The gate resets, writes, and does not keep."""
        f = sigmoid(x.f + u.f)
        return Update(keep=1 - f, write=f, candidate=tanh(x.n + f * u.n))
