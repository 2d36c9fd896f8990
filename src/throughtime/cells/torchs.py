"""Which of our equations the recurrent layers and cells of torch run."""

from torch import nn

from throughtime.cells.cell import Cell
from throughtime.cells.gru import GRU
from throughtime.cells.lstm import LSTM
from throughtime.cells.rnn import RNN


def torchs_cell(module: nn.Module) -> Cell | None:
    """The equations of a module of torch's; None of any other one."""
    if isinstance(module, nn.RNN | nn.RNNCell):
        return RNN(module.nonlinearity)
    if isinstance(module, nn.GRU | nn.GRUCell):
        return GRU()
    return LSTM() if isinstance(module, nn.LSTM | nn.LSTMCell) else None


def is_torchs(cell: Cell) -> bool:
    """Whether torch has a layer with these equations."""
    return type(cell) in (RNN, LSTM, GRU)
