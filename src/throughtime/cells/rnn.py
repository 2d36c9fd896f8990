"""The vanilla recurrent cell (Elman 1990): nothing is kept, everything is written anew."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import relu, tanh

NONLINEARITIES = {"tanh": tanh, "relu": relu}


class RNN(Cell):
    """h_t = phi(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), phi = tanh or relu, as in `torch.nn.RNN`.

    Raises:
        ValueError: `nonlinearity` is neither "tanh" nor "relu".
    """

    gates = ("h",)

    def __init__(self, nonlinearity: str = "tanh") -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"nonlinearity: expected one of {sorted(NONLINEARITIES)}, found {nonlinearity!r}")
        self.nonlinearity = nonlinearity

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """keep = 0, write = 1."""
        return Update(keep=0, write=1, candidate=NONLINEARITIES[self.nonlinearity](x.h + u.h))
