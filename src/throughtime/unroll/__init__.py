"""A cell over time: the trajectory, and the layers that replace `torch.nn`'s."""

from throughtime.unroll.drop_in import GRU as GRU
from throughtime.unroll.drop_in import LSTM as LSTM
from throughtime.unroll.drop_in import RNN as RNN
from throughtime.unroll.drop_in import Gated as Gated
from throughtime.unroll.layer import Recurrent as Recurrent
from throughtime.unroll.sequences import Layout as Layout
from throughtime.unroll.sequences import Reading as Reading
from throughtime.unroll.trajectory import Trajectory as Trajectory
from throughtime.unroll.trajectory import Weights as Weights
from throughtime.unroll.trajectory import joined as joined
from throughtime.unroll.trajectory import retrace as retrace
from throughtime.unroll.trajectory import unroll as unroll
