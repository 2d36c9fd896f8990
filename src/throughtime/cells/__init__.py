"""The cells, one file of equations each, and what is derived from them."""

from throughtime.cells.antisymmetric_rnn import AntisymmetricRNN as AntisymmetricRNN
from throughtime.cells.cell import Cell as Cell
from throughtime.cells.cell import Named as Named
from throughtime.cells.cell import Update as Update
from throughtime.cells.cfn import CFN as CFN
from throughtime.cells.coupled_lstm import CoupledLSTM as CoupledLSTM
from throughtime.cells.ctrnn import CTRNN as CTRNN
from throughtime.cells.derivation import Partial as Partial
from throughtime.cells.derivation import derive as derive
from throughtime.cells.functions import elementwise as elementwise
from throughtime.cells.functions import relu as relu
from throughtime.cells.functions import sigmoid as sigmoid
from throughtime.cells.functions import tanh as tanh
from throughtime.cells.gated import Gated as Gated
from throughtime.cells.gru import GRU as GRU
from throughtime.cells.ind_rnn import IndRNN as IndRNN
from throughtime.cells.irnn import IRNN as IRNN
from throughtime.cells.janet import JANET as JANET
from throughtime.cells.li_gru import LiGRU as LiGRU
from throughtime.cells.lru import LRU as LRU
from throughtime.cells.lstm import LSTM as LSTM
from throughtime.cells.mgu import MGU as MGU
from throughtime.cells.min_gru import MinGRU as MinGRU
from throughtime.cells.min_lstm import MinLSTM as MinLSTM
from throughtime.cells.peephole_lstm import PeepholeLSTM as PeepholeLSTM
from throughtime.cells.qrnn import QRNN as QRNN
from throughtime.cells.ran import RAN as RAN
from throughtime.cells.reset_before_gru import ResetBeforeGRU as ResetBeforeGRU
from throughtime.cells.rnn import RNN as RNN
from throughtime.cells.scrn import SCRN as SCRN
from throughtime.cells.sru import SRU as SRU
from throughtime.cells.star import STAR as STAR
from throughtime.cells.step import Step as Step
from throughtime.cells.torchs import is_torchs as is_torchs
from throughtime.cells.torchs import torchs_cell as torchs_cell
from throughtime.cells.typeset import equations as equations
from throughtime.cells.typeset import path_formulas as path_formulas
from throughtime.cells.ugrnn import UGRNN as UGRNN

ALL_CELLS: tuple[Cell, ...] = (
    RNN(),
    RNN("relu"),
    IRNN(),
    CTRNN(),
    AntisymmetricRNN(),
    IndRNN(),
    LRU(),
    Gated(),
    GRU(),
    MGU(),
    UGRNN(),
    JANET(),
    LiGRU(),
    MinGRU(),
    LSTM(),
    PeepholeLSTM(),
    CoupledLSTM(),
    MinLSTM(),
    RAN(),
    STAR(),
    CFN(),
    SRU(),
    QRNN(),
)
