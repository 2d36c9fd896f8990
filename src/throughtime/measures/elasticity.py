"""Elasticity: by what part of itself a loss would change with the state that it reads."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.measures.film import Film
from throughtime.unroll import Trajectory


def elasticity(
    film: Film,
    direct: Float[Tensor, "state source"],
    trajectory: Trajectory,
    losses: Float[Tensor, " source"],
) -> Float[Tensor, "state source"]:
    """ln of B |dl_t/ds_t| |s_t| / |l_t|, root mean squares over the batch of B samples; a number without unit.

    Were the state a small part smaller, the loss would change by no more than that part of this part of itself: to
    first order, and by the inequality of Cauchy and Schwarz. It is the same whatever the unit of the loss, so that
    a readout that hardly reads is told from a loss that is small. NaN where the state is zero, or loss and
    derivative both are, and where losses may read other states, too.

    Args:
        film: Which state a source reads.
        direct: ln |dl_t/ds_t|, as `direct_derivative` has it, in nats.
        trajectory: The states.
        losses: l_t, summed over the batch, of every source.
    """
    samples = film.batch if film.ends is None else int((film.ends > 0).sum())
    return direct + state_norm(film, trajectory) + math.log(samples) - losses.double().abs().log()


def state_norm(film: Film, trajectory: Trajectory) -> Float[Tensor, "state source"]:
    """ln |s_t|, root mean square over the batch, of the state that every loss reads, in nats.

    NaN where the state is zero, and where losses may read others, too.

    Args:
        film: Which state a source reads.
        trajectory: The states.
    """
    if not film.single:
        return torch.full((len(film.states), film.sources), torch.nan, dtype=torch.float64)
    samples = torch.arange(film.batch) if film.ends is None else (film.ends > 0).nonzero().squeeze(-1)
    at = film.positions.unsqueeze(-1) if film.ends is None else film.ends[samples].unsqueeze(0)
    places = at.clamp(0, film.steps), samples
    squares = torch.stack([_mean_square(trajectory.states[state][places]) for state in film.states])
    return squares.masked_fill(squares == 0, torch.nan).log() / 2


def _mean_square(values: Float[Tensor, "source batch hidden"]) -> Float[Tensor, " source"]:
    return torch.linalg.vector_norm(values, dim=-1, dtype=torch.float64).square().mean(-1)
