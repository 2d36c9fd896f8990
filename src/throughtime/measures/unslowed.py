"""What the weight terms would add up to if every slope were 1: what the rounding of slopes works on."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import Pullback
from throughtime.measures.film import Film

# Numbers of the map that are worked on together.
NUMBERS_AT_ONCE = 2**20


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
    # Every state but the initial one has terms; the map may be too large for a copy of it.
    at_state = torch.cat([multiplied.new_full((1,), -torch.inf), multiplied])[film.in_sequence(film.kept)]
    steps = max(1, NUMBERS_AT_ONCE // gradient_map[..., 0].numel())
    parts = zip(gradient_map.split(steps, dim=-1), at_state.split(steps), strict=True)
    return sum(_summed(adjoints, its, film.batch) for adjoints, its in parts)


def _summed(
    gradient_map: Float[Tensor, "state source state_step"], multiplied: Float[Tensor, " state_step"], batch: int
) -> float:
    """Over the sources and some states."""
    # NaN is what was not followed.
    ln_squares = 2 * gradient_map.nan_to_num(nan=-torch.inf, posinf=torch.inf)
    adjoints = (torch.logsumexp(ln_squares, dim=0) + math.log(batch)) / 2
    return float((adjoints + multiplied).exp().sum())
