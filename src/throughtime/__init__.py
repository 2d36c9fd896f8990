"""How far back in time a recurrent network can learn, why it cannot learn further, and what would cure it.

To read the package as a story: `notation` has the words, `cells.gru` one cell's equations, `cells.derivation` what
follows from them, `unroll.trajectory` a cell over time, `capture.runs` how a model is run and opened,
`adjoint.sweep` the film played backwards, `measures.gradient_map` one measure, `causes.decomposition` what shrank it,
`examination` the result, `measuring` how it is made, `examine` the one call, and `report` what a person sees of it.
"""

from throughtime import init as init
from throughtime.capture import ExaminationError as ExaminationError
from throughtime.capture import NotFiniteError as NotFiniteError
from throughtime.cells import Cell as Cell
from throughtime.cells import Update as Update
from throughtime.cells import elementwise as elementwise
from throughtime.cells import relu as relu
from throughtime.cells import sigmoid as sigmoid
from throughtime.cells import tanh as tanh
from throughtime.checkpoints import examine_checkpoint as examine_checkpoint
from throughtime.examination import Examination as Examination
from throughtime.examination import load as load
from throughtime.examine import examine as examine
from throughtime.findings import Finding as Finding
from throughtime.fused import show_kernel as show_kernel
from throughtime.report import write_html as write_html
from throughtime.unroll import CFN as CFN
from throughtime.unroll import CTRNN as CTRNN
from throughtime.unroll import GRU as GRU
from throughtime.unroll import IRNN as IRNN
from throughtime.unroll import JANET as JANET
from throughtime.unroll import LRU as LRU
from throughtime.unroll import LSTM as LSTM
from throughtime.unroll import MGU as MGU
from throughtime.unroll import QRNN as QRNN
from throughtime.unroll import RAN as RAN
from throughtime.unroll import RNN as RNN
from throughtime.unroll import SCRN as SCRN
from throughtime.unroll import SRU as SRU
from throughtime.unroll import STAR as STAR
from throughtime.unroll import UGRNN as UGRNN
from throughtime.unroll import AntisymmetricRNN as AntisymmetricRNN
from throughtime.unroll import CoupledLSTM as CoupledLSTM
from throughtime.unroll import Gated as Gated
from throughtime.unroll import IndRNN as IndRNN
from throughtime.unroll import LiGRU as LiGRU
from throughtime.unroll import MinGRU as MinGRU
from throughtime.unroll import MinLSTM as MinLSTM
from throughtime.unroll import PeepholeLSTM as PeepholeLSTM
from throughtime.unroll import Recurrent as Recurrent
from throughtime.unroll import ResetBeforeGRU as ResetBeforeGRU

__version__ = "0.1.0"
