"""The layers that take the place of `torch.nn`'s: one class for every cell, with torch's argument order."""

from typing import Any

from throughtime import cells
from throughtime.unroll.layer import Recurrent


class RNN(Recurrent):
    """`torch.nn.RNN` as equations: same arguments, weights and outputs. See `Recurrent` for the rest."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *arguments: Any,
        **keywords: Any,
    ) -> None:
        super().__init__(cells.RNN(nonlinearity), input_size, hidden_size, num_layers, *arguments, **keywords)
        self.nonlinearity = nonlinearity


class Gated(Recurrent):
    """The story's layer: keep gate, write gate and candidate, each a recurrent layer of its own. See `Recurrent`."""

    def __init__(self, input_size: int, hidden_size: int, *arguments: Any, **keywords: Any) -> None:
        super().__init__(cells.Gated(), input_size, hidden_size, *arguments, **keywords)


class GRU(Recurrent):
    """`torch.nn.GRU` as equations: same arguments, weights and outputs. See `Recurrent`."""

    def __init__(self, input_size: int, hidden_size: int, *arguments: Any, **keywords: Any) -> None:
        super().__init__(cells.GRU(), input_size, hidden_size, *arguments, **keywords)


class LSTM(Recurrent):
    """`torch.nn.LSTM` as equations: same arguments, weights and outputs. See `Recurrent`."""

    def __init__(self, input_size: int, hidden_size: int, *arguments: Any, **keywords: Any) -> None:
        super().__init__(cells.LSTM(), input_size, hidden_size, *arguments, **keywords)
