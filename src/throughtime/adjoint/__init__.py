"""Step pullbacks and the sweep: the film of a recurrence, played backwards."""

from throughtime.adjoint.at_once import AtOnce as AtOnce
from throughtime.adjoint.entering import AtEveryStep as AtEveryStep
from throughtime.adjoint.entering import AtOneStep as AtOneStep
from throughtime.adjoint.entering import Entering as Entering
from throughtime.adjoint.loops import LoopFrame as LoopFrame
from throughtime.adjoint.network import Network as Network
from throughtime.adjoint.network import Playing as Playing
from throughtime.adjoint.network import derivatives_in_all as derivatives_in_all
from throughtime.adjoint.pullback import OUTPUT as OUTPUT
from throughtime.adjoint.pullback import PROJECTION as PROJECTION
from throughtime.adjoint.pullback import UPDATE as UPDATE
from throughtime.adjoint.pullback import Kind as Kind
from throughtime.adjoint.pullback import Pullback as Pullback
from throughtime.adjoint.pushforward import Push as Push
from throughtime.adjoint.pushforward import Pushforward as Pushforward
from throughtime.adjoint.scaled import Scaled as Scaled
from throughtime.adjoint.scaled import joined as joined
from throughtime.adjoint.scaled import or_zero as or_zero
from throughtime.adjoint.scaled import stacked as stacked
from throughtime.adjoint.segments import InputAdjoint as InputAdjoint
from throughtime.adjoint.segments import Segment as Segment
from throughtime.adjoint.sweep import Frame as Frame
from throughtime.adjoint.sweep import SweptFrame as SweptFrame
from throughtime.adjoint.sweep import sweep as sweep
from throughtime.adjoint.taken_apart import taken_apart as taken_apart
from throughtime.adjoint.to_inputs import ToInputs as ToInputs
