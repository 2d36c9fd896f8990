"""From a cell's equations to what runs them over a whole sequence, and the one place where that is decided."""

from throughtime.fused.executor import BACKENDS as BACKENDS
from throughtime.fused.executor import WORTH_COMPILING as WORTH_COMPILING
from throughtime.fused.executor import executor as executor
from throughtime.fused.reference import Run as Run
from throughtime.fused.reference import stepped as stepped
from throughtime.fused.run import run as run
from throughtime.fused.show import show_kernel as show_kernel
from throughtime.fused.torchs_own import torchs_function as torchs_function
from throughtime.fused.torchs_own import torchs_own as torchs_own
