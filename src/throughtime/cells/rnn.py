"""The vanilla recurrent cell (Elman 1990): nothing is kept, everything is written anew."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.nonlinearity import NONLINEARITIES, known_nonlinearity


class RNN(Cell):
    """h_t = phi(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), phi = tanh or relu, as in `torch.nn.RNN`.

    Raises:
        ValueError: `nonlinearity` is neither "tanh" nor "relu".
    """

    gates = ("h",)

    def __init__(self, nonlinearity: str = "tanh") -> None:
        self.nonlinearity = known_nonlinearity(nonlinearity)

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """keep = 0, write = 1."""
        return Update(keep=0, write=1, candidate=NONLINEARITIES[self.nonlinearity](x.h + u.h))
