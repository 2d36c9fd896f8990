"""What the weight terms would add up to if every slope were 1: what the rounding of slopes works on."""

import torch

from throughtime.adjoint import Pullback
from throughtime.measures.reel import NormMeasure, Reel


class Unslowed(NormMeasure):
    """An upper bound of the sum of the norms of all weight terms, were no activation saturated.

    Autograd computes 1 - tanh(a)^2 with an error of an epsilon, however small the slope, so that the rounding of its
    gradient is an epsilon of this and not of the gradient.

    Args:
        pullback: The recurrence.
    """

    def __init__(self, pullback: Pullback) -> None:
        trajectory = pullback.trajectory
        # What multiplies an adjoint in the immediate derivatives: all these and 1.
        values = [trajectory.before("h"), trajectory.inputs]
        values += [] if trajectory.output is None else [trajectory.output]
        values += [trajectory.before(pullback.cell.carried)] if pullback.cell.units or pullback.unit_by_unit else []
        norms = torch.stack([torch.linalg.vector_norm(value, dim=-1, dtype=torch.float64) for value in values])
        self._multiplied = (norms.square().sum(0) + 1).log().cpu() / 2
        self._ln_sum = torch.tensor(-torch.inf, dtype=torch.float64)

    def take(self, reel: Reel) -> None:
        """Every state but the initial one has terms."""
        later = reel.steps > 0
        largest = torch.stack([ln_square[later] for ln_square in reel.ln_square.values()]).amax(0) / 2
        ln_terms = (largest + self._multiplied[reel.steps[later] - 1]).flatten()
        self._ln_sum = torch.logaddexp(self._ln_sum, ln_terms.logsumexp(0))

    def result(self) -> float:
        """The bound."""
        return float(self._ln_sum.exp())
