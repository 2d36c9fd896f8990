"""The mean step Jacobian: what its eigenvalues say of a gradient, and how far the single steps are from it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from throughtime.adjoint import Pushforward
from throughtime.cells import Cell
from throughtime.unroll import Trajectory, Weights

# What an examination looks at: so many evenly spread steps of so many samples; fewer of a large state, of which a
# matrix takes n^3 operations, but as many as tell one half of the sequence from the other.
LARGEST_STEPS, LARGEST_SAMPLES, LEAST_STEPS, OPERATIONS = 32, 2, 4, 2**26
# Eigenvalues take some 25 n^3 operations, one after the other: beyond this they would take longer than all the rest.
LARGEST_SIZE = 512


@dataclass(frozen=True)
class MeanJacobian:
    """The mean M of J_i = ds_i/ds_{i-1} over steps and samples, and what it leaves out, in nats per step.

    Were all steps alike, the gradient would change by `eigenvalue` at every step in the long run.

    Args:
        eigenvalue: ln of the largest modulus of an eigenvalue of M; NaN for a state of more than LARGEST_SIZE.
        non_normality: ln of the largest singular value of M less that: how much further than its eigenvalues say a
            single mean step stretches some direction. 0 for a normal matrix; ln 2 for a large Gaussian one (Geman 1980,
            Girko 1985).
        drift: ln |M_2| - ln |M_1|, Frobenius norms of the means over the second and the first half of the sequence.
            0 where the steps are the same throughout.
        fluctuation: ln of the root mean square of |J_i| less ln of that of |M_1| and |M_2|: how far the steps are from
            their mean within a half, at different inputs. 0 where they do not depend on the input.
    """

    eigenvalue: float
    non_normality: float
    drift: float
    fluctuation: float


def mean_jacobian(cell: Cell, weights: Weights, trajectory: Trajectory) -> MeanJacobian:
    """Of evenly spread steps of the samples that are read longest.

    Args:
        cell: The equations.
        weights: Their weights.
        trajectory: Where the derivatives are taken.
    """
    read, longest = trajectory.read_longest(LARGEST_SAMPLES)
    steps, samples, size = len(read), len(longest), trajectory.size
    afforded = max(LEAST_STEPS, OPERATIONS // (samples * size**3))
    count = min(steps, LARGEST_STEPS, afforded)
    spread = torch.linspace(1, steps, count, dtype=torch.float64).round().long()
    pushes = Pushforward(cell, weights, trajectory.at(read[(spread - 1).to(read.device)], longest))
    first = spread <= steps / 2
    sums = torch.zeros(2, size, size, dtype=torch.float64)
    squares = torch.zeros(2, dtype=torch.float64)
    for jacobian, early in zip(pushes.jacobians(), first.tolist(), strict=True):
        half = 0 if early else 1
        sums[half] += jacobian.sum(0)
        squares[half] += jacobian.double().square().sum()
    counts = samples * torch.stack([first.sum(), (~first).sum()]).double()
    return _summed_up(sums, squares, counts)


def _summed_up(sums: Tensor, squares: Tensor, counts: Tensor) -> MeanJacobian:
    mean = sums.sum(0) / counts.sum()
    eigenvalue = torch.nan
    if len(mean) <= LARGEST_SIZE:
        eigenvalue = float(torch.linalg.eigvals(mean).abs().max().log())
    halves = (sums / counts.view(2, 1, 1)).square().sum((1, 2))
    of_means = torch.nansum(counts * halves) / counts.sum()
    return MeanJacobian(
        eigenvalue,
        float(torch.linalg.matrix_norm(mean, 2).log()) - eigenvalue,
        float(halves.log().diff()) / 2,
        float((squares.sum() / counts.sum()).log() - of_means.log()) / 2,
    )
