"""Lyapunov exponents: at what rates the directions of the full state grow or shrink along the data."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import Push, Pushforward
from throughtime.cells import Cell
from throughtime.unroll import Trajectory, Weights

# What an examination looks at: so many leading exponents, along the last steps of so many samples.
LEADING, LARGEST_STEPS, LARGEST_SAMPLES = 8, 128, 2
# The part of the steps in which the directions may turn to where they belong before their growth counts.
TRANSIENT = 0.25
# Means of so many blocks of steps tell the error of the mean over all of them, although neighbouring steps are alike
# (Flyvbjerg, Petersen 1989, Error estimates on averages of correlated data).
BLOCKS = 10


@dataclass(frozen=True)
class Spectrum:
    """The Lyapunov exponents lambda_1 >= lambda_2 >= ... of a product of step Jacobians, in nats per step.

    Args:
        exponents: Mean over steps and samples of ln of the growth of each direction; -inf for one that is lost.
        error: Their standard error, from the means of blocks of steps. It contains what is left of a transient and the
            differences between samples. NaN where there is a single block, or the exponent is -inf.
    """

    exponents: Float[Tensor, " exponent"]
    error: Float[Tensor, " exponent"]


def lyapunov_spectrum(cell: Cell, weights: Weights, trajectory: Trajectory) -> Spectrum:
    """The leading exponents along the end of a trajectory, as an examination has them.

    Args:
        cell: The equations.
        weights: Their weights.
        trajectory: Where the derivatives are taken.
    """
    pushes = Pushforward(cell, weights, trajectory.last(LARGEST_STEPS, LARGEST_SAMPLES))
    return spectrum_of(pushes, pushes.directions(LEADING), int(TRANSIENT * pushes.steps))


def spectrum_of(
    pushes: Iterable[Push], directions: Float[Tensor, "batch state exponent"], transient: int = 0
) -> Spectrum:
    """The leading Lyapunov exponents of a product of step Jacobians.

    Directions are carried along, Q_i R_i = J_i Q_{i-1}, and lambda_j is the mean of ln |R_i[j, j]| (Benettin, Galgani,
    Giorgilli, Strelcyn 1980; for recurrent networks Engelken, Wolf, Abbott 2023, arXiv:2006.02427).

    Args:
        pushes: The products with J_1, J_2, ..., in the order of time.
        directions: Q_0, with as many columns as exponents are asked for.
        transient: How many of the first steps only turn the directions and do not count.
    """
    growth = []
    for step, push in enumerate(pushes):
        directions, stretched = torch.linalg.qr(push(directions))
        if step >= transient:
            growth.append(stretched.diagonal(dim1=-2, dim2=-1).double().abs().log())
    return _summed_up(torch.stack(growth))


def _summed_up(growth: Float[Tensor, "step batch exponent"]) -> Spectrum:
    blocks = torch.stack([block.mean(0) for block in growth.tensor_split(min(BLOCKS, len(growth)))]).flatten(0, 1)
    exponents, order = growth.mean((0, 1)).sort(descending=True)
    error = blocks.std(0) / len(blocks) ** 0.5 if len(blocks) > 1 else torch.full_like(exponents, torch.nan)
    return Spectrum(exponents, error[order])
