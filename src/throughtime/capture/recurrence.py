"""One recurrence of somebody else's model, cut out of its graph."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from throughtime.capture.sequences import Reading
from throughtime.cells import Cell, Named
from throughtime.unroll import Trajectory, Weights


@dataclass(frozen=True)
class Recurrence:
    """One layer and direction of a recurrent module, as one call of that module ran it.

    The autograd graph is cut behind it: `hidden` and `final` are leaves of what follows, `inputs` and `initial` the
    ends of what came before.

    Args:
        name: Qualified name of the module, layer and direction: "encoder.l0", "encoder.l0.reverse".
        module: The module it belongs to.
        layer: Its layer.
        reading: The order in which it reads the sequence.
        cell: Its equations.
        weights: Its weights, detached.
        parameters: Its weights as the user's parameters, by torch's name without layer and direction.
        trajectory: What it ran through, in reading order.
        inputs: x_1 .. x_T as the user's graph made them, in the order of the sequence.
        initial: By state, s_0 as the user's graph made it; without those that start from zeros.
        hidden: h_1 .. h_T in the order of the sequence.
        final: The last value of every state other than h.
    """

    name: str
    module: nn.Module
    layer: int
    reading: Reading
    cell: Cell
    weights: Weights
    parameters: dict[str, nn.Parameter]
    trajectory: Trajectory
    inputs: Float[Tensor, "time batch input"]
    initial: Named
    hidden: Float[Tensor, "time batch hidden"]
    final: Named

    @property
    def steps(self) -> int:
        """T."""
        return self.hidden.shape[0]

    @property
    def batch(self) -> int:
        """Samples."""
        return self.hidden.shape[1]

    @property
    def reverse(self) -> bool:
        """Whether it reads the sequence from the end."""
        return self.reading.reverse
