"""What the weight terms would add up to if every slope were 1: what the rounding of slopes works on."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import Pullback
from throughtime.measures.film import Film


def unslowed(film: Film, gradient_map: Float[Tensor, "state source state_step"], pullback: Pullback) -> float:
    """An upper bound of the sum of the norms of all weight terms, were no activation saturated.

    Autograd computes 1 - tanh(a)^2 with an error of an epsilon, however small the slope, so that the rounding of its
    gradient is an epsilon of this and not of the gradient. By the inequality of Cauchy and Schwarz, the sum over
    samples of an adjoint times what multiplies it is no more than the norms of both over all samples.

    Args:
        film: The axes of the map.
        gradient_map: ln of the root mean square of the adjoints over the samples, in nats.
        pullback: The recurrence.
    """
    trajectory = pullback.trajectory
    # What multiplies an adjoint in the immediate derivatives: all these and 1.
    values = [trajectory.before("h"), trajectory.inputs]
    values += [] if trajectory.output is None else [trajectory.output]
    values += [trajectory.before(pullback.cell.carried)] if pullback.cell.units or pullback.unit_by_unit else []
    squares = [torch.linalg.vector_norm(value, dim=(1, 2), dtype=torch.float64).square() for value in values]
    multiplied = torch.stack(squares).sum(0).add(film.batch).cpu().log() / 2
    # Every state but the initial one has terms; NaN is what was not followed.
    later = film.kept > 0
    ln_squares = 2 * film.in_sequence(gradient_map)[..., later].nan_to_num(nan=-torch.inf, posinf=torch.inf)
    adjoints = (torch.logsumexp(ln_squares, dim=0) + math.log(film.batch)) / 2
    return float((adjoints + multiplied[film.kept[later] - 1]).exp().sum())
