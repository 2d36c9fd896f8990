"""A cell over time: the trajectory, and the layers that replace `torch.nn`'s."""

from throughtime.unroll.layer import GRU as GRU
from throughtime.unroll.layer import LSTM as LSTM
from throughtime.unroll.layer import RNN as RNN
from throughtime.unroll.layer import Gated as Gated
from throughtime.unroll.layer import Recurrent as Recurrent
from throughtime.unroll.trajectory import Trajectory as Trajectory
from throughtime.unroll.trajectory import Weights as Weights
from throughtime.unroll.trajectory import joined as joined
from throughtime.unroll.trajectory import retrace as retrace
from throughtime.unroll.trajectory import unroll as unroll
