"""The cells, one file of equations each, and what is derived from them."""

from throughtime.cells.cell import Cell as Cell
from throughtime.cells.cell import Named as Named
from throughtime.cells.cell import Update as Update
from throughtime.cells.derivation import Partial as Partial
from throughtime.cells.derivation import derive as derive
from throughtime.cells.functions import elementwise as elementwise
from throughtime.cells.functions import relu as relu
from throughtime.cells.functions import sigmoid as sigmoid
from throughtime.cells.functions import tanh as tanh
from throughtime.cells.gated import Gated as Gated
from throughtime.cells.gru import GRU as GRU
from throughtime.cells.lstm import LSTM as LSTM
from throughtime.cells.rnn import RNN as RNN
from throughtime.cells.typeset import equations as equations
from throughtime.cells.typeset import path_formulas as path_formulas

ALL_CELLS: tuple[Cell, ...] = (RNN(), RNN("relu"), Gated(), GRU(), LSTM())
